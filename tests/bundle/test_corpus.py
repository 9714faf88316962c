"""Decoding a corpus: order, modes of the model and of torch before, between and after."""

from __future__ import annotations

import pytest
import torch

from asr.bundle.corpus import decode_corpus
from asr.decoding.base import build_search
from asr.decoding.ctc_greedy import CtcGreedyConfig
from asr.models.asr_model import AsrModel
from asr.types import Batch
from tests.tiny_models import tiny_model

CPU = torch.device("cpu")


@pytest.fixture
def model() -> AsrModel:
    torch.manual_seed(0)
    return tiny_model("ctc", num_features=8, vocab_size=10)


def make_batches() -> list[Batch]:
    return [
        Batch(
            ids=ids,
            features=torch.randn(len(ids), 40, 8, generator=torch.Generator().manual_seed(len(ids))),
            feature_lens=torch.full((len(ids),), 40),
            tokens=torch.empty(len(ids), 0, dtype=torch.int64),
            token_lens=torch.zeros(len(ids), dtype=torch.int64),
        )
        for ids in [("c", "a"), ("b",)]
    ]


def test_every_utterance_comes_once_in_order_with_the_searchs_answer(model: AsrModel) -> None:
    searcher = build_search(CtcGreedyConfig(), model.heads)
    found = list(decode_corpus(model, searcher, make_batches(), CPU))
    model.eval()
    with torch.no_grad():
        expected = [
            n_best
            for batch in make_batches()
            for n_best in searcher.search(model.encode(batch.features, batch.feature_lens))
        ]
    assert found == list(zip(["c", "a", "b"], expected, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_given_back_even_if_the_caller_stops_early(model: AsrModel, training: bool) -> None:
    model.train(training)
    results = decode_corpus(model, build_search(CtcGreedyConfig(), model.heads), make_batches(), CPU)
    next(results)
    assert not model.training
    assert not torch.is_inference_mode_enabled()
    results.close()
    assert all(module.training == training for module in model.modules())


def test_encoder_and_search_run_under_autocast_where_another_dtype_is_asked_for(model: AsrModel) -> None:
    searcher = build_search(CtcGreedyConfig(), model.heads)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = [
            n_best
            for batch in make_batches()
            for n_best in searcher.search(model.eval().encode(batch.features, batch.feature_lens))
        ]
    half = [n_best for _, n_best in decode_corpus(model, searcher, make_batches(), CPU, torch.bfloat16)]
    full = [n_best for _, n_best in decode_corpus(model, searcher, make_batches(), CPU)]
    assert half == expected
    assert half != full
