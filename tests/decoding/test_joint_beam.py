"""Joint CTC/attention search against every text there is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.joint_beam import JointBeam, JointBeamConfig
from asr.errors import ConfigError
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.brute_force import ctc_text_scores, random_log_probs
from tests.decoding.fakes import FakeDecoder, FakeLm, Text, all_texts, fake_heads

VOCAB_SIZE = 6
TOKENS = (1, 4, 5)
LENS = [4, 3]


def search(
    log_probs: Tensor, lens: list[int], fusion: Fusion = NO_FUSION, **settings: object
) -> list[list[Hypothesis]]:
    heads = fake_heads(FakeDecoder(log_probs.shape[2]), ctc=log_probs.shape[2])
    searcher = JointBeam(JointBeamConfig.model_validate(settings), heads, fusion)
    return searcher.search(EncoderOutput(log_probs, torch.tensor(lens)))


def exact_parts(log_probs: Tensor, ctc_weight: float) -> dict[Text, dict[str, float]]:
    """The parts of every text of an utterance's valid frames."""
    ctc, decoder = ctc_text_scores(log_probs), FakeDecoder(VOCAB_SIZE)
    return {
        text: {
            "ctc": ctc_weight * ctc.get(text, -math.inf) if ctc_weight else 0.0,
            "attention": (1.0 - ctc_weight) * decoder.score(log_probs, text),
        }
        for text in all_texts(TOKENS, len(log_probs))
    }


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
def test_an_unbounded_beam_finds_every_text_with_its_exact_score(ctc_weight: float) -> None:
    log_probs = random_log_probs(2, 4, VOCAB_SIZE, seed=1)
    answers = search(log_probs, LENS, ctc_weight=ctc_weight, beam=1000)
    for n_best, frames, length in zip(answers, log_probs, LENS, strict=True):
        expected = exact_parts(frames[:length], ctc_weight)
        scores = {text: sum(parts.values()) for text, parts in expected.items() if sum(parts.values()) > -math.inf}
        assert {one.tokens: one.score for one in n_best} == pytest.approx(scores, abs=1e-9)
        for one in n_best:
            assert one.parts == pytest.approx({**expected[one.tokens], "length": 0.0}, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_n_best_list_of_a_wide_beam_is_that_of_all_texts_though_the_search_stops_early(seed: int) -> None:
    """Wide enough for nothing good to fall out, not so wide that every text is kept."""
    log_probs = random_log_probs(2, 4, VOCAB_SIZE, seed=10 + seed, sharpness=4.0)
    for n_best, frames, length in zip(search(log_probs, LENS, beam=30), log_probs, LENS, strict=True):
        scores = {text: sum(parts.values()) for text, parts in exact_parts(frames[:length], 0.3).items()}
        best = sorted(scores, key=lambda text: scores[text], reverse=True)[:5]
        assert [one.tokens for one in n_best[:5]] == best


def test_the_parts_of_a_fusion_and_of_the_length_are_those_of_the_text() -> None:
    log_probs = random_log_probs(2, 4, VOCAB_SIZE, seed=2)
    lm, hotwords = FakeLm(VOCAB_SIZE), FakeLm(VOCAB_SIZE)
    answers = search(log_probs, LENS, Fusion(lm, hotwords), beam=5, lm_weight=0.7, length_bonus=1.5)
    for n_best, frames, length in zip(answers, log_probs, LENS, strict=True):
        expected = exact_parts(frames[:length], 0.3)
        assert len(n_best) == 5
        for one in n_best:
            expected_parts = {
                **expected[one.tokens],
                "lm": 0.7 * lm.score(one.tokens),
                "hotwords": hotwords.score(one.tokens),
                "length": 1.5 * len(one.tokens),
            }
            assert one.parts == pytest.approx(expected_parts, abs=1e-9)
            assert one.score == pytest.approx(sum(expected_parts.values()), abs=1e-9)


def test_a_language_model_changes_the_answer_as_it_changes_the_best_of_all_texts() -> None:
    lm = FakeLm(VOCAB_SIZE)
    changes = 0
    for seed in range(8):
        log_probs = random_log_probs(1, 4, VOCAB_SIZE, seed=seed)
        scores = {
            text: sum(parts.values()) + 2.0 * lm.score(text) for text, parts in exact_parts(log_probs[0], 0.3).items()
        }
        ((found, *_),) = search(log_probs, [4], Fusion(lm), beam=1000, lm_weight=2.0)
        ((without, *_),) = search(log_probs, [4], beam=1000)
        assert found.tokens == max(scores, key=lambda text: scores[text])
        changes += found.tokens != without.tokens
    assert changes


class NeverEnds(FakeDecoder):
    """A decoder that would say token 4 for ever."""

    def predict(self, frames: Tensor, text: Text) -> Tensor:
        probs = torch.full((len(self.vocabulary),), 1e-9, dtype=torch.float64)
        probs[4] = 1.0
        return probs.log()


@pytest.mark.parametrize("num_frames", [1, 60])
def test_silence_ends_with_the_empty_text_whatever_the_decoder_says(num_frames: int) -> None:
    log_probs = torch.full((1, num_frames, VOCAB_SIZE), -30.0, dtype=torch.float64)
    log_probs[..., 0] = 0.0
    heads = fake_heads(NeverEnds(VOCAB_SIZE), ctc=VOCAB_SIZE)
    ((best, *_),) = JointBeam(JointBeamConfig(ctc_weight=0.5), heads).search(
        EncoderOutput(log_probs, torch.tensor([num_frames]))
    )
    assert best.tokens == ()


def test_no_text_is_longer_than_the_frames_allow_even_for_a_decoder_that_never_ends() -> None:
    log_probs = random_log_probs(1, 9, VOCAB_SIZE, seed=4)
    encoded = EncoderOutput(log_probs, torch.tensor([9]))
    searcher = JointBeam(JointBeamConfig(max_tokens_per_frame=2.0), fake_heads(NeverEnds(VOCAB_SIZE), ctc=VOCAB_SIZE))
    (n_best,) = searcher.search(encoded)
    assert n_best
    assert all(math.isfinite(one.score) and len(one.tokens) <= 9 for one in n_best)


def test_utterances_without_frames_get_the_empty_text_with_all_parts() -> None:
    log_probs = random_log_probs(2, 3, VOCAB_SIZE, seed=5)
    fusion = Fusion(lm=FakeLm(VOCAB_SIZE))
    nothing = Hypothesis((), 0.0, {"ctc": 0.0, "attention": 0.0, "lm": 0.0, "length": 0.0})
    assert search(log_probs, [0, 3], fusion)[0] == [nothing]
    assert search(log_probs[:, :0], [0, 0], fusion) == [[nothing], [nothing]]


def test_a_model_that_lacks_a_part_is_refused_with_searches_that_would_do() -> None:
    with pytest.raises(ConfigError, match=r"'joint_beam' needs a CTC head.*attention_beam or attention_greedy"):
        JointBeam(JointBeamConfig(), fake_heads(FakeDecoder(VOCAB_SIZE)))
    with pytest.raises(ConfigError, match=r"'joint_beam' needs a decoder.*ctc_greedy or ctc_prefix_beam"):
        JointBeam(JointBeamConfig(), fake_heads(ctc=VOCAB_SIZE))
