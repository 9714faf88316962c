"""What every registered neural language model promises, in float64 so that a leak shows and rounding does not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr.lengths import padding_mask
from asr.lm.neural import LANGUAGE_MODELS, LanguageModelConfig, NeuralLm, NeuralLmConfig, build_language_model
from asr.lm.neural.scorer import NeuralLmScorer
from asr.text.vocabulary import Vocabulary
from tests.foreign_vocabularies import FOREIGN, ours

VOCABULARY = ours("ABCDEFG").vocabulary
VOCAB_SIZE = len(VOCABULARY)
SOS, EOS = VOCABULARY.start, VOCABULARY.end
CPU = torch.device("cpu")

CONFIGS = {
    f"{name}{'-tied' if tied else ''}": LANGUAGE_MODELS.config(name).tiny().model_copy(update={"tie_embeddings": tied})
    for name in LANGUAGE_MODELS.names()
    for tied in (False, True)
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config: NeuralLmConfig, vocabulary: Vocabulary = VOCABULARY) -> NeuralLm[Any]:
    torch.manual_seed(3)
    return build_language_model(config, vocabulary).double().eval()


def noisy_batch() -> tuple[Tensor, Tensor]:
    """Sentences with noise for padding; one without tokens."""
    torch.manual_seed(4)
    tokens, token_lens = torch.randint(4, VOCAB_SIZE, (4, 6)), torch.tensor([6, 3, 0, 2])
    tokens[padding_mask(token_lens, 6)] = 123456  # not even a token
    return tokens, token_lens


def feed(scorer: NeuralLmScorer, sentence: list[int]) -> tuple[Tensor | None, Any]:
    """What the scorer says after a sentence that it is fed alone, and its state then."""
    log_probs, state = None, scorer.init_state(1, CPU)
    for token in sentence:
        log_probs, state = scorer.step(torch.tensor([token]), state)
    return log_probs, state


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@each_config
@torch.no_grad()
def test_a_sentence_is_scored_the_same_alone_and_among_noise(config: NeuralLmConfig) -> None:
    model = build(config)
    tokens, token_lens = noisy_batch()
    batched = model(tokens, token_lens)
    assert batched.shape == (4, 7, VOCAB_SIZE)
    for row, length in enumerate(token_lens):
        alone = model(tokens[row : row + 1, :length], token_lens[row : row + 1])
        assert_close(batched[row, : length + 1], alone[0])
    order = torch.tensor([2, 0, 3, 1])
    permuted = model(tokens[order], token_lens[order])
    for row, length in enumerate(token_lens[order]):
        assert_close(permuted[row, : length + 1], batched[order[row], : length + 1])


@each_config
@torch.no_grad()
def test_step_by_step_equals_teacher_forcing(config: NeuralLmConfig) -> None:
    model = build(config)
    tokens = torch.randint(4, VOCAB_SIZE, (4, 6))
    forced = model(tokens, torch.full((4,), 6))
    scorer = NeuralLmScorer(model)
    state = scorer.init_state(4, CPU)
    last = torch.full((4,), SOS)
    for position in range(7):
        log_probs, state = scorer.step(last, state)
        assert_close(log_probs, forced[:, position])
        last = tokens[:, min(position, 5)]


@each_config
@torch.no_grad()
def test_reordered_rows_go_on_as_themselves(config: NeuralLmConfig) -> None:
    scorer = NeuralLmScorer(build(config))
    _, state = scorer.step(torch.full((4,), SOS), scorer.init_state(4, CPU))
    _, state = scorer.step(torch.tensor([4, 5, 6, 7]), state)
    last = torch.tensor([8, 9, 10, 4])
    straight, _ = scorer.step(last, state)
    index = torch.tensor([2, 0, 0, 3, 1])
    reordered, _ = scorer.step(last[index], scorer.reorder(state, index))
    assert_close(reordered, straight[index])
    again, _ = scorer.step(last, state)
    assert torch.equal(again, straight), "a step changed the state it was given"


@each_config
@torch.no_grad()
def test_rows_that_were_fed_different_numbers_of_tokens_go_on_together_as_alone(config: NeuralLmConfig) -> None:
    scorer = NeuralLmScorer(build(config))
    sentences = [[SOS, 5, 6, 7, 8], [SOS], [SOS, 9], [SOS, 4, 4, 10], [SOS, 6, 5, 4, 9, 8, 7]]
    joined = scorer.init_state(0, CPU)
    for sentence in sentences:
        joined = scorer.concat(joined, feed(scorer, sentence[:-1])[1])
    log_probs, joined = scorer.step(torch.tensor([sentence[-1] for sentence in sentences]), joined)
    assert_close(log_probs, torch.cat([feed(scorer, sentence)[0] for sentence in sentences]))

    rows = [2, 1, 3, 1]  # the longest sentences leave
    sentences = [sentences[row] for row in rows]
    joined = scorer.reorder(joined, torch.tensor(rows))
    for tokens in ([4, 5, 6, 7], [8, 8, 9, 10]):
        sentences = [[*sentence, token] for sentence, token in zip(sentences, tokens, strict=True)]
        log_probs, joined = scorer.step(torch.tensor(tokens), joined)
        assert_close(log_probs, torch.cat([feed(scorer, sentence)[0] for sentence in sentences]))


@each_config
@torch.no_grad()
def test_no_rows_at_all_are_allowed(config: NeuralLmConfig) -> None:
    scorer = NeuralLmScorer(build(config))
    _, state = scorer.step(torch.full((2,), SOS), scorer.init_state(2, CPU))
    nobody = scorer.reorder(state, torch.zeros(0, dtype=torch.int64))
    assert scorer.step(torch.zeros(0, dtype=torch.int64), nobody)[0].shape == (0, VOCAB_SIZE)
    expected, _ = scorer.step(torch.tensor([4, 5]), state)
    assert_close(scorer.step(torch.tensor([4, 5]), scorer.concat(nobody, state))[0], expected)


@each_config
@pytest.mark.parametrize("name", ["ours", *FOREIGN])
@torch.no_grad()
def test_log_probs_of_what_a_text_or_its_end_may_be_sum_to_one(name: str, config: NeuralLmConfig) -> None:
    vocabulary = VOCABULARY if name == "ours" else FOREIGN[name]().vocabulary
    scorer = NeuralLmScorer(build(config, vocabulary))
    log_probs, state = scorer.step(torch.full((2,), vocabulary.start), scorer.init_state(2, CPU))
    log_probs, _ = scorer.step(torch.tensor([4, 5]), state)
    assert_close(log_probs.logsumexp(-1), torch.zeros(2, dtype=torch.float64))
    never = list(vocabulary.never_predicted)
    assert (log_probs[:, never] == -math.inf).all()
    assert int(log_probs.isfinite().sum()) == 2 * (len(vocabulary) - len(never))
    assert log_probs[:, vocabulary.end].isfinite().all()


@each_config
def test_gradients_reach_every_parameter(config: NeuralLmConfig) -> None:
    model = build(config)
    tokens, token_lens = noisy_batch()
    log_probs = model(tokens, token_lens)
    sum(row[: length + 1, EOS].sum() for row, length in zip(log_probs, token_lens, strict=True)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-9, name


@each_config
@torch.no_grad()
def test_saved_weights_give_the_same_scores(config: NeuralLmConfig, tmp_path: Path) -> None:
    model = build(config)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.manual_seed(99)
    other = build_language_model(config, VOCABULARY).double().eval()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(model(*noisy_batch()), other(*noisy_batch()))


@each_config
def test_tied_embeddings_are_one_matrix(config: NeuralLmConfig) -> None:
    matrices = [weight for weight in build(config).parameters() if weight.shape == (VOCAB_SIZE, config.dim)]
    assert len(matrices) == (1 if config.tie_embeddings else 2)


@each_config
def test_a_config_survives_json(config: NeuralLmConfig) -> None:
    assert TypeAdapter(LanguageModelConfig).validate_json(config.model_dump_json()) == config
