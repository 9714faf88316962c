"""What every search promises, on every kind of model: an utterance's answer is its own, whatever surrounds it."""

from __future__ import annotations

import functools

import pytest
import torch
from pydantic import TypeAdapter

from asr.decoding import SEARCHES, SearchConfig
from asr.decoding.base import Searcher, build_search
from asr.models.asr_model import AsrModel
from asr.models.encoders import ENCODERS
from asr.models.heads import HEADS
from asr.models.heads.decoder import Decoder
from asr.types import Hypothesis
from tests.tiny_models import tiny_model

NUM_FEATURES, VOCAB_SIZE = 8, 12
LENS = [54, 37, 20, 29]  # feature frames

Setup = tuple[AsrModel, Searcher]


DECODERS = [name for name in HEADS.names() if issubclass(HEADS.part(name), Decoder)]
# Searches that ask no decoder are tried beside one of them.
SETUPS = [
    (encoder, decoder, name)
    for name in SEARCHES.names()
    for encoder in ENCODERS.names()
    for decoder in (DECODERS if "decoder" in SEARCHES.part(name).needs else DECODERS[:1])
]


@functools.cache
def tiny(encoder: str, decoder: str) -> AsrModel:
    """A tiny float64 model with a CTC head and a decoder."""
    torch.manual_seed(15)
    model = tiny_model("ctc", decoder, num_features=NUM_FEATURES, vocab_size=VOCAB_SIZE, encoder=encoder)
    with torch.no_grad():
        for weight in model.heads.parameters():
            weight.mul_(3.0)  # a fresh model is so flat that every answer looks alike
    return model.double().eval()


@pytest.fixture(params=SETUPS, ids="-".join)
def setup(request: pytest.FixtureRequest) -> Setup:
    """A model and a search over it."""
    encoder, decoder, name = request.param
    model = tiny(encoder, decoder)
    return model, build_search(SEARCHES.config(name).tiny(), model.heads)


def make_utterances() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    return [torch.randn(length, NUM_FEATURES, dtype=torch.float64, generator=generator) for length in LENS]


def search(setup: Setup, utterances: list[torch.Tensor], extra_padding: int = 0) -> list[list[Hypothesis]]:
    """Answers for a batch whose padding is loud noise."""
    model, searcher = setup
    lens = torch.tensor([len(utterance) for utterance in utterances])
    features = 10.0 * torch.randn(len(lens), int(lens.max()) + extra_padding, NUM_FEATURES, dtype=torch.float64)
    for row, utterance in enumerate(utterances):
        features[row, : len(utterance)] = utterance
    with torch.inference_mode():
        return searcher.search(model.encode(features, lens))


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert len(found) == len(expected)
    for n_best, expected_n_best in zip(found, expected, strict=True):
        assert [one.tokens for one in n_best] == [one.tokens for one in expected_n_best]
        assert [one.spans for one in n_best] == [one.spans for one in expected_n_best]
        for one, other in zip(n_best, expected_n_best, strict=True):
            assert one.score == pytest.approx(other.score, rel=1e-9, abs=1e-9)
            assert one.parts == pytest.approx(other.parts, rel=1e-9, abs=1e-9)


def test_an_utterance_gets_the_same_answer_alone_and_in_a_batch(setup: Setup) -> None:
    utterances = make_utterances()
    alone = [search(setup, [utterance])[0] for utterance in utterances]
    assert any(n_best[0].tokens for n_best in alone)
    assert_same(search(setup, utterances), alone)


def test_answers_follow_the_order_of_the_batch(setup: Setup) -> None:
    utterances = make_utterances()
    order = [2, 0, 3, 1]
    answers = search(setup, utterances)
    assert_same(search(setup, [utterances[row] for row in order]), [answers[row] for row in order])


def test_more_padding_changes_nothing(setup: Setup) -> None:
    utterances = make_utterances()
    assert_same(search(setup, utterances, extra_padding=37), search(setup, utterances))


def test_an_utterance_without_frames_gets_the_empty_hypothesis_and_disturbs_nobody(setup: Setup) -> None:
    utterances = make_utterances()
    answers = search(setup, [utterances[0], utterances[0][:0], utterances[1]])
    assert answers[1][0].tokens == ()
    assert_same([answers[0], answers[2]], search(setup, utterances[:2]))


def test_features_that_are_no_numbers_empty_an_utterance_and_disturb_nobody(setup: Setup) -> None:
    utterances = make_utterances()
    spoilt = utterances[1].clone()
    spoilt[20, 3] = float("nan")
    answers = search(setup, [utterances[0], spoilt, utterances[2]])
    assert [one.tokens for one in answers[1]] == [()]
    assert_same([answers[0], answers[2]], search(setup, [utterances[0], utterances[2]]))


def test_n_best_lists_are_sorted_distinct_and_their_parts_sum_to_the_score(setup: Setup) -> None:
    for n_best in search(setup, make_utterances()):
        scores = [hypothesis.score for hypothesis in n_best]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.tokens for hypothesis in n_best}) == len(n_best) > 0
        for hypothesis in n_best:
            assert sum(hypothesis.parts.values()) == pytest.approx(hypothesis.score, rel=1e-9)
            assert hypothesis.spans is None or len(hypothesis.spans) == len(hypothesis.tokens)


@pytest.mark.parametrize("name", SEARCHES.names())
def test_a_search_is_chosen_by_name_and_its_config_survives_a_round_trip(name: str) -> None:
    config = SEARCHES.config(name).tiny()
    assert TypeAdapter(SearchConfig).validate_python({"name": name}) == SEARCHES.config(name)()
    assert TypeAdapter(SearchConfig).validate_json(config.model_dump_json()) == config
