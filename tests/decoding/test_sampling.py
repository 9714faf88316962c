"""Texts drawn at random follow the decoder's probabilities and depend on seed and place, not on the batch."""

from __future__ import annotations

import math
from collections import Counter

import torch

from asr.decoding.attention_greedy import AttentionGreedyConfig
from asr.decoding.base import build_search
from asr.decoding.sampling import Sampling, sample
from asr.models.encoders.conformer import ConformerConfig
from asr.models.heads.whisper import WhisperHeadConfig
from asr.types import EncoderOutput
from tests.tiny_models import tiny_model


def draw(log_probs: torch.Tensor, temperature: float, places: list[str], seed: int = 0) -> torch.Tensor:
    rows = torch.arange(len(places))
    tokens = torch.zeros(len(places), 3, dtype=torch.int64)
    return Sampling(temperature, places, seed)(log_probs, tokens, torch.ones(len(places), dtype=torch.int64), rows)


def test_a_draw_leaves_one_token_with_its_log_probability_as_often_as_it_is_likely() -> None:
    log_probs = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).log().expand(2000, 4)
    for temperature in (1.0, 0.5):
        left = draw(log_probs, temperature, [str(row) for row in range(2000)])
        assert (left.isfinite().sum(1) == 1).all()
        chosen = left.argmax(1)
        torch.testing.assert_close(left.amax(1), log_probs[0][chosen])
        counts = Counter(chosen.tolist())
        weights = [value ** (1 / temperature) for value in (0.5, 0.3, 0.2)]
        for token, weight in enumerate(weights):
            assert math.isclose(counts[token] / 2000, weight / sum(weights), abs_tol=0.04)
        assert counts[3] == 0


def test_a_draw_depends_on_seed_and_place_alone() -> None:
    log_probs = torch.randn(1, 50).log_softmax(1).expand(3, 50)
    together = draw(log_probs, 1.0, ["a", "b", "c"])
    for row, place in enumerate("abc"):
        assert torch.equal(draw(log_probs[:1], 1.0, [place])[0], together[row])
    assert not torch.equal(draw(log_probs, 1.0, ["a", "b", "c"], seed=1), together)


def test_a_decoder_that_has_temperatures_gets_a_fallback_unless_the_settings_want_none() -> None:
    torch.manual_seed(5)
    model = tiny_model(WhisperHeadConfig.tiny(), num_features=8, vocab_size=12, encoder=ConformerConfig.tiny()).eval()
    searcher = build_search(AttentionGreedyConfig(max_tokens_per_frame=0.5), model.heads)
    assert searcher.fallback is not None
    assert searcher.fallback.temperatures == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert build_search(AttentionGreedyConfig(temperatures=()), model.heads).fallback is None
    encoded = EncoderOutput(torch.randn(3, 12, model.encoder.output_dim), torch.tensor([12, 9, 4]))
    with torch.inference_mode():
        together = sample(searcher.fallback, 1.0, encoded, [None] * 3, ["a", "b", "c"])
        (alone,) = sample(
            searcher.fallback, 1.0, EncoderOutput(encoded.frames[1:2, :9], encoded.lens[1:2]), [None], ["b"]
        )
        other = sample(searcher.fallback, 1.0, encoded, [None] * 3, ["d", "e", "f"])
    assert together[1][0].tokens == alone[0].tokens
    assert [own[0].tokens for own in together] != [own[0].tokens for own in other]
