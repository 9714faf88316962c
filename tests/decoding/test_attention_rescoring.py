"""Attention rescoring against every text there is."""

from __future__ import annotations

import pytest
import torch

from asr.decoding.attention_rescoring import AttentionRescoring, AttentionRescoringConfig
from asr.decoding.base import build_search
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.decoding.fusion import Fusion
from asr.errors import ConfigError
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.brute_force import ctc_text_scores, random_log_probs
from tests.decoding.fakes import FakeDecoder, FakeLm, fake_heads

VOCAB_SIZE = 6
LENS = [4, 3]
LOG_PROBS = random_log_probs(2, 4, VOCAB_SIZE, seed=0)


def rescore(decoder: FakeDecoder, fusion: Fusion, lens: list[int], **settings: object) -> list[list[Hypothesis]]:
    searcher = AttentionRescoring(
        AttentionRescoringConfig.model_validate(settings), fake_heads(decoder, ctc=VOCAB_SIZE), fusion
    )
    return searcher.search(EncoderOutput(LOG_PROBS, torch.tensor(lens)))


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4, 1.0])
def test_with_an_unbounded_beam_every_text_gets_its_exact_score(ctc_weight: float) -> None:
    decoder = FakeDecoder(VOCAB_SIZE)
    answers = rescore(decoder, Fusion(), LENS, beam=1000, ctc_weight=ctc_weight)
    for n_best, log_probs, length in zip(answers, LOG_PROBS, LENS, strict=True):
        frames = log_probs[:length]
        scores = {
            text: ctc_weight * ctc + (1.0 - ctc_weight) * decoder.score(frames, text)
            for text, ctc in ctc_text_scores(frames).items()
        }
        assert {one.tokens: one.score for one in n_best} == pytest.approx(scores, abs=1e-9)
        assert n_best[0].tokens == max(scores, key=lambda text: scores[text])


def test_the_other_parts_stay_those_of_the_first_pass() -> None:
    decoder, fusion = FakeDecoder(VOCAB_SIZE), Fusion(lm=FakeLm(VOCAB_SIZE), hotwords=FakeLm(VOCAB_SIZE))
    shared = {"beam": 5, "lm_weight": 0.7, "length_bonus": 1.5}
    answers = rescore(decoder, fusion, LENS, ctc_weight=0.4, **shared)
    first_pass = build_search(CtcPrefixBeamConfig.model_validate(shared), fake_heads(ctc=VOCAB_SIZE), fusion)
    firsts = first_pass.search(EncoderOutput(LOG_PROBS, torch.tensor(LENS)))
    for n_best, first, log_probs, length in zip(answers, firsts, LOG_PROBS, LENS, strict=True):
        expected = {one.tokens: one.parts for one in first}
        assert len(n_best) == len(expected) == 5
        for one in n_best:
            attention = 0.6 * decoder.score(log_probs[:length], one.tokens)
            parts = {**expected[one.tokens], "ctc": 0.4 * expected[one.tokens]["ctc"], "attention": attention}
            assert one.parts == pytest.approx(parts, abs=1e-9)
            assert one.score == pytest.approx(sum(parts.values()), abs=1e-9)


def test_the_decoder_reads_all_hypotheses_of_a_batch_at_once() -> None:
    class Counting(FakeDecoder):
        num_readings = 0

        def __call__(self, encoded: EncoderOutput, tokens: torch.Tensor, token_lens: torch.Tensor) -> torch.Tensor:
            self.num_readings += 1
            return super().__call__(encoded, tokens, token_lens)

    decoder = Counting(VOCAB_SIZE)
    rescore(decoder, Fusion(), LENS)
    assert decoder.num_readings == 1


def test_utterances_without_frames_get_the_empty_text() -> None:
    decoder = FakeDecoder(VOCAB_SIZE)
    nothing = Hypothesis((), 0.0, {"ctc": 0.0, "attention": 0.0, "length": 0.0})
    assert rescore(decoder, Fusion(), [0, 3])[0] == [nothing]
    assert rescore(decoder, Fusion(), [0, 0]) == [[nothing], [nothing]]


def test_a_model_that_lacks_a_part_is_refused_with_searches_that_would_do() -> None:
    with pytest.raises(
        ConfigError, match=r"'attention_rescoring' needs a CTC head.*attention_beam or attention_greedy"
    ):
        AttentionRescoring(AttentionRescoringConfig(), fake_heads(FakeDecoder(VOCAB_SIZE)))
    with pytest.raises(ConfigError, match=r"'attention_rescoring' needs a decoder.*ctc_greedy or ctc_prefix_beam"):
        AttentionRescoring(AttentionRescoringConfig(), fake_heads(ctc=VOCAB_SIZE))
