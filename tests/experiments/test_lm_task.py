"""The loss of a language model is the sum of what its tokens cost, and perplexity is what it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from asr.bundle.lm import LmBundle
from asr.config import LmExperiment, TextConfig, TrainingConfig
from asr.data.sentences import Sentence, collate_sentences
from asr.experiments.lm_task import LmTask
from asr.lm.neural import LANGUAGE_MODELS
from asr.lm.neural.scorer import NeuralLmScorer
from asr.optim.optimizers.adamw import AdamW, AdamWConfig
from asr.system.display import Display
from asr.text.tokenizer import CharConfig, train_tokenizer
from asr.text.tokenizer.sentence_piece import EOS, SOS
from asr.training.checkpoint import CheckpointFolder
from asr.training.task import StepDraws
from asr.training.trainer import Trainer

TEXTS = ["one two three", "four", "five six", "seven", "eight nine", "zero one", "two"]
CPU = torch.device("cpu")


def make_task(folder: Path, name: str = "lstm", texts: list[str] = TEXTS, dropout: float = 0.0, **data: Any) -> LmTask:
    tokenizer = train_tokenizer(CharConfig(), TEXTS)
    language_model = LANGUAGE_MODELS.config(name).tiny().model_copy(update={"dropout": dropout})
    config = LmExperiment.model_validate(
        {
            "model": "model",
            "data": {"train": ["a"], "dev": ["b"], "max_batch_tokens": 24} | data,
            "language_model": language_model.model_dump(),
            "text": TextConfig(normalize="none", tokenizer=CharConfig()).model_dump(),
        }
    )
    sentences = [Sentence(text, torch.tensor(tokenizer.encode(text), dtype=torch.int64)) for text in texts]
    bundle = LmBundle.build(config, tokenizer)
    bundle.model.double()
    return LmTask(bundle, sentences, sentences, folder, CPU)


def cost(task: LmTask, sentence: list[int]) -> float:
    """Negative log-likelihood of one sentence and its end, token by token."""
    scorer = NeuralLmScorer(task.model)
    state, last, total = scorer.init_state(1, CPU), SOS, 0.0
    for token in [*sentence, EOS]:
        log_probs, state = scorer.step(torch.tensor([last]), state)
        total -= float(log_probs[0, token])
        last = token
    return total


@pytest.mark.parametrize("name", LANGUAGE_MODELS.names())
def test_the_loss_is_the_sum_over_all_tokens_and_ends_one_by_one(name: str, tmp_path: Path) -> None:
    task = make_task(tmp_path, name)
    task.model.eval()
    encode = task.bundle.tokenizer.encode
    batch = collate_sentences([Sentence(text, torch.tensor(encode(text), dtype=torch.int64)) for text in TEXTS])
    output = task.loss(batch, StepDraws(1, 0))
    expected = [cost(task, encode(text)) for text in TEXTS]
    assert output.per_utterance.tolist() == pytest.approx(expected, rel=1e-9)
    assert output.total.item() == pytest.approx(sum(expected), rel=1e-9)
    assert task.count(batch) == sum(len(text) + 1 for text in TEXTS)


def test_an_epoch_holds_every_sentence_once_within_the_budget_and_can_be_entered_anywhere(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    for epoch in range(3):
        batches = list(task.batches(epoch, 0))
        assert len(batches) == task.num_batches(epoch) > 2
        assert sorted(id for batch in batches for id in batch.ids) == sorted(TEXTS)
        assert all(len(batch.ids) * (int(batch.token_lens.max()) + 1) <= 24 for batch in batches)
        for start in range(len(batches) + 1):
            rest = list(task.batches(epoch, start))
            assert [batch.ids for batch in rest] == [batch.ids for batch in batches[start:]]
    assert [batch.ids for batch in task.batches(0, 0)] != [batch.ids for batch in task.batches(1, 0)]


def trainer_for(task: LmTask, folder: Path, **settings: object) -> Trainer[Any]:
    config = TrainingConfig.model_validate({"epochs": 1, "max_grad_norm": 1e9, "average_num": 1, **settings})
    optimizer = AdamW(AdamWConfig(lr=0.02, weight_decay=0.0), task.model)
    return Trainer(task, config, 1, optimizer, lambda _step: 1.0, CheckpointFolder(folder), Display())


def test_a_step_weighs_every_token_alike_however_its_sentences_are_batched(tmp_path: Path) -> None:
    whole = make_task(tmp_path / "whole", max_batch_tokens=1000)
    split = make_task(tmp_path / "split", max_batch_tokens=15)
    assert whole.num_batches(0) == 1
    trainer_for(whole, tmp_path / "a").run()
    trainer_for(split, tmp_path / "b", accumulation=split.num_batches(0)).run()
    for one, other in zip(whole.model.parameters(), split.model.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-9, atol=1e-12)


def test_the_perplexity_of_a_model_that_knows_nothing_is_the_number_of_possible_tokens(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    for parameter in task.model.output.parameters():
        torch.nn.init.zeros_(parameter)
    possible = task.bundle.tokenizer.vocab_size - 2  # blank and SOS never come
    assert task.validate() == {"perplexity": pytest.approx(possible, rel=1e-9)}


@pytest.mark.parametrize("name", LANGUAGE_MODELS.names())
def test_a_sentence_learnt_by_heart_has_a_perplexity_of_one(name: str, tmp_path: Path) -> None:
    task = make_task(tmp_path, name, texts=["two three"])
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=0.05, weight_decay=0.0)
    for _ in range(120):
        (batch,) = task.batches(0, 0)
        optimizer.zero_grad()
        (task.loss(batch, StepDraws(1, 0)).total / task.count(batch)).backward()
        optimizer.step()
    assert 1.0 <= task.validate()["perplexity"] < 1.05


def test_measuring_perplexity_drops_nothing_and_leaves_the_mode_alone(tmp_path: Path) -> None:
    task = make_task(tmp_path, dropout=0.5)
    task.model.train()
    assert task.validate() == task.validate()
    assert task.model.training
