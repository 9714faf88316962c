"""Attention beam search against every text there is, and against decoders that know no end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asr.decoding.attention_beam import AttentionBeam, AttentionBeamConfig
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.errors import ConfigError
from asr.text.tokenizer.sentence_piece import EOS
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.brute_force import random_log_probs
from tests.decoding.fakes import FakeDecoder, FakeLm, Text, all_texts, fake_heads

VOCAB_SIZE = 6
TOKENS = (1, 4, 5)
LENS = [4, 2]
FRAMES = random_log_probs(2, 4, VOCAB_SIZE, seed=0)


def search(
    decoder: FakeDecoder, lens: list[int], fusion: Fusion = NO_FUSION, frames: Tensor = FRAMES, **settings: object
) -> list[list[Hypothesis]]:
    """N-best lists by plain scores, unless the settings want something else."""
    config = AttentionBeamConfig.model_validate({"length_normalisation": 0.0, "eos_threshold": None, **settings})
    searcher = AttentionBeam(config, fake_heads(decoder), fusion)
    return searcher.search(EncoderOutput(frames, torch.tensor(lens)))


class Scripted(FakeDecoder):
    """A decoder that gives tokens 4 and EOS fixed probabilities, by the number of tokens before; the rest goes to 5."""

    def __init__(self, *probs: tuple[float, float]) -> None:
        super().__init__(VOCAB_SIZE)
        self.probs = probs

    def predict(self, frames: Tensor, text: Text) -> Tensor:
        four, eos = self.probs[min(len(text), len(self.probs) - 1)]
        probs = torch.zeros(VOCAB_SIZE, dtype=torch.float64)
        probs[4], probs[EOS], probs[5], probs[1] = four, eos, 1.0 - four - eos, 1e-30
        return probs.log()


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_an_unbounded_beam_finds_every_text_with_its_exact_score(exponent: float) -> None:
    decoder = FakeDecoder(VOCAB_SIZE)
    answers = search(decoder, LENS, beam=1000, length_normalisation=exponent)
    for n_best, frames, length in zip(answers, FRAMES, LENS, strict=True):
        scores = {
            text: decoder.score(frames[:length], text) / ((5 + len(text) + 1) / 6) ** exponent
            for text in all_texts(TOKENS, length)
        }
        assert {one.tokens: one.score for one in n_best} == pytest.approx(scores, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_n_best_list_of_a_wide_beam_is_that_of_all_texts_though_the_search_stops_early(seed: int) -> None:
    frames, decoder = random_log_probs(1, 4, VOCAB_SIZE, seed=seed), FakeDecoder(VOCAB_SIZE)
    scores = {text: decoder.score(frames[0], text) for text in all_texts(TOKENS, 4)}
    (n_best,) = search(decoder, [4], frames=frames, beam=30)
    assert [one.tokens for one in n_best[:5]] == sorted(scores, key=lambda text: scores[text], reverse=True)[:5]


def test_the_parts_of_a_fusion_and_of_the_length_are_those_of_the_text() -> None:
    decoder, lm = FakeDecoder(VOCAB_SIZE), FakeLm(VOCAB_SIZE)
    (n_best, _) = search(decoder, LENS, Fusion(lm=lm), beam=5, lm_weight=0.7, length_bonus=1.5)
    assert len(n_best) == 5
    for one in n_best:
        parts = {
            "attention": decoder.score(FRAMES[0], one.tokens),
            "lm": 0.7 * lm.score(one.tokens),
            "length": 1.5 * len(one.tokens),
        }
        assert one.parts == pytest.approx(parts, abs=1e-9)
        assert one.score == pytest.approx(sum(parts.values()), abs=1e-9)


def test_an_utterance_is_done_when_what_goes_on_is_worse_than_what_has_ended() -> None:
    decoder = Scripted((0.9, 0.05), (0.05, 0.9))
    ((best, *_),) = search(decoder, [100], frames=FRAMES[:1, :1].expand(1, 100, -1), beam=2)
    assert best.tokens == (4,)
    assert decoder.num_steps < 5


def test_a_decoder_that_never_ends_is_stopped_in_proportion_to_the_audio() -> None:
    decoder = Scripted((0.9, 1e-20))
    frames = FRAMES[:, :1].expand(2, 6, -1)
    answers = search(decoder, [6, 3], frames=frames, max_tokens_per_frame=0.5, beam=1, eos_threshold=1.0)
    assert [n_best[0].tokens for n_best in answers] == [(4, 4, 4), (4, 4)]
    for (best,) in answers:
        assert best.score == pytest.approx(len(best.tokens) * math.log(0.9) + math.log(1e-20))


def test_length_normalisation_prefers_the_longer_of_two_texts() -> None:
    decoder = Scripted((0.55, 0.4), (0.55, 0.4), (0.1, 0.8))
    assert search(decoder, [4, 4])[0][0].tokens == ()
    assert search(decoder, [4, 4], length_normalisation=2.0)[0][0].tokens == (4, 4)


def test_a_text_ends_early_only_if_eos_comes_near_the_best_token() -> None:
    """log 0.2 is 2.7 times log 0.55."""
    decoder = Scripted((0.55, 0.2), (0.05, 0.9))
    for threshold, has_empty in [(None, True), (3.0, True), (2.5, False)]:
        (n_best, _) = search(decoder, [4, 4], eos_threshold=threshold)
        assert (() in [one.tokens for one in n_best]) == has_empty


def test_utterances_without_frames_get_the_empty_text_with_all_parts() -> None:
    nothing = Hypothesis((), 0.0, {"attention": 0.0, "length": 0.0})
    assert search(FakeDecoder(VOCAB_SIZE), [0, 2])[0] == [nothing]
    assert search(FakeDecoder(VOCAB_SIZE), [0, 0]) == [[nothing], [nothing]]


def test_a_model_without_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'attention_beam' needs a decoder.*ctc_greedy or ctc_prefix_beam"):
        AttentionBeam(AttentionBeamConfig(), fake_heads(ctc=VOCAB_SIZE))
