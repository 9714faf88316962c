"""Greedy attention search over a decoder that recites a given text."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.decoding.attention_greedy import AttentionGreedy, AttentionGreedyConfig
from asr.errors import ConfigError
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.fakes import fake_heads, own_vocabulary

VOCAB_SIZE = 8
SOS, EOS = 2, 3  # of `own_vocabulary`
OTHER = math.log(0.2 / (VOCAB_SIZE - 1))


class Reciter:
    """Gives 0.8 to the token that the encoder frame of its position holds; insists on the last token it was given."""

    vocabulary = own_vocabulary(VOCAB_SIZE)

    def __call__(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        raise AssertionError(f"a search has no use for teacher forcing: {encoded}, {tokens}, {token_lens}")

    def init_state(self, encoded: EncoderOutput) -> Any:
        assert encoded.lens.all(), "an utterance without frames has nothing to attend to"
        expected_last = torch.full_like(encoded.lens, SOS)
        return encoded.frames[..., 0].long(), expected_last, 0

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        texts, expected_last, position = state
        assert torch.equal(tokens, expected_last)
        best = texts[:, min(position, texts.shape[1] - 1)]
        log_probs = torch.full((len(texts), VOCAB_SIZE), OTHER, dtype=torch.float64)
        log_probs.scatter_(1, best[:, None], math.log(0.8))
        return log_probs, (texts, best, position + 1)

    def reorder(self, state: Any, index: Tensor) -> Any:
        texts, expected_last, position = state
        return texts[index], expected_last[index], position


def search(texts: list[list[int]], lens: list[int], config: AttentionGreedyConfig | None = None) -> list[Hypothesis]:
    searcher = AttentionGreedy(config or AttentionGreedyConfig(), fake_heads(Reciter()))
    frames = torch.tensor(texts, dtype=torch.float64)[..., None]
    return [n_best[0] for n_best in searcher.search(EncoderOutput(frames, torch.tensor(lens)))]


def test_each_utterance_ends_at_its_own_eos() -> None:
    hypotheses = search([[4, 5, 6, EOS], [7, EOS, 7, 7], [EOS, 4, 4, 4]], [4, 4, 4])
    assert [hypothesis.tokens for hypothesis in hypotheses] == [(4, 5, 6), (7,), ()]
    for hypothesis, steps in zip(hypotheses, [4, 2, 1], strict=True):
        assert hypothesis.score == pytest.approx(steps * math.log(0.8), rel=1e-12)
        assert hypothesis.parts == {"attention": hypothesis.score}


def test_a_decoder_that_never_ends_is_stopped_in_proportion_to_the_audio() -> None:
    hypotheses = search([[4] * 6, [4] * 6], [6, 3], AttentionGreedyConfig(max_tokens_per_frame=0.5))
    assert [hypothesis.tokens for hypothesis in hypotheses] == [(4, 4, 4), (4, 4)]
    for hypothesis in hypotheses:
        assert hypothesis.score == pytest.approx(len(hypothesis.tokens) * math.log(0.8) + OTHER, rel=1e-12)


def test_utterances_without_frames_get_the_empty_hypothesis() -> None:
    assert search([[4, EOS], [5, EOS]], [0, 2])[0] == Hypothesis((), 0.0, {"attention": 0.0})
    assert search([[4, EOS], [5, EOS]], [0, 0]) == [Hypothesis((), 0.0, {"attention": 0.0})] * 2


def test_a_model_without_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs a decoder.*ctc_greedy or ctc_prefix_beam"):
        AttentionGreedy(AttentionGreedyConfig(), fake_heads(ctc=VOCAB_SIZE))
