"""Which texts can be trusted, where they end, and what is tried instead of those that cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.decode import SearchRequest, choose_decoding
from asr.bundle.guard import end_with_clip, is_doubtful, is_suspicious
from asr.bundle.loops import compression_ratio, has_repeated_ngram, is_too_fast
from asr.decoding.attention_beam import AttentionBeamConfig
from asr.types import Hypothesis, TokenSegment
from tests.bundle.foreign.whisper_files import multilingual_model

FRAME = 0.02


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    own = tmp_path_factory.mktemp("whisper")
    multilingual_model(own / "source", own / "model")
    return Bundle.load(own / "model")


def hypothesis(bundle: Bundle, text: str, avg_logprob: float = -0.3) -> Hypothesis:
    return Hypothesis(tuple(bundle.tokenizer.encode(text)), 0.0, measures={"avg_logprob": avg_logprob})


@pytest.mark.parametrize(
    ("text", "avg_logprob", "strong", "weak"),
    [
        ("A plain text.", -0.3, False, False),
        ("A plain text.", -1.1, True, True),
        ("He said so and he said soon.", -0.3, True, False),
        ("Is it? Is it? Is it? Is it?", -0.3, True, True),
        ("", -2.0, False, False),
        ("abcdefghijklmnopqrstuvwxyz 0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ .,:;-+*/ ", -0.3, True, True),
    ],
)
def test_a_text_is_suspicious_if_it_loops_or_is_too_long_or_unlikely(
    bundle: Bundle, text: str, avg_logprob: float, strong: bool, weak: bool
) -> None:
    own = hypothesis(bundle, text, avg_logprob)
    assert is_doubtful(own, bundle.tokenizer, 8.0, 0.5, FRAME) is strong
    assert is_suspicious(own, bundle.tokenizer, 8.0) is weak


def test_a_text_that_ends_before_the_speech_does_is_doubtful(bundle: Bundle) -> None:
    text = hypothesis(bundle, "A plain text.")
    timed = replace(text, segments=(TokenSegment(0, len(text.tokens), 0, 300),))
    for end, doubtful in ((6.9, False), (7.1, True)):
        assert is_doubtful(timed, bundle.tokenizer, 8.0, end, FRAME) is doubtful
        assert not is_doubtful(text, bundle.tokenizer, 8.0, end, FRAME), "nobody knows without timestamps"
    assert is_doubtful(Hypothesis((), 0.0), bundle.tokenizer, 8.0, 1.1, FRAME)


def test_measures_of_loops() -> None:
    assert has_repeated_ngram([1, 2, 3, 4, 9, 1, 2, 3, 4])
    assert not has_repeated_ngram([1, 2, 3, 4, 9, 1, 2, 3, 5])
    assert has_repeated_ngram([7, 7, 7, 7, 7])
    assert (is_too_fast(20, 2.0), is_too_fast(19, 2.0)) == (True, False)
    assert compression_ratio("") == 0.0
    assert compression_ratio("one two " * 50) > 2.4


def test_a_text_ends_with_the_first_timestamp_at_the_end_of_its_clip(bundle: Bundle) -> None:
    tokens = tuple(range(40, 46))
    segments = (TokenSegment(0, 2, 0, 90), TokenSegment(2, 4, 90, 160), TokenSegment(4, 6, 160, 300))
    whole = Hypothesis(tokens, 0.0, segments=segments)
    ended = end_with_clip(whole, bundle.tokenizer, 3.3, FRAME)  # a timestamp at 3.2 s
    assert (ended.tokens, ended.segments) == (tokens[:4], segments[:2])
    late = end_with_clip(whole, bundle.tokenizer, 3.5, FRAME)  # that is not within 0.25 s
    assert (late.tokens, late.segments[-1]) == (tokens, TokenSegment(4, 6, 160, 175))
    assert ended.measures["compression_ratio"] == compression_ratio(bundle.tokenizer.decode(tokens[:4]))
    plain = Hypothesis(tokens, 0.0)
    assert end_with_clip(plain, bundle.tokenizer, 1.0, FRAME).tokens == tokens


def test_what_stays_suspicious_is_drawn_until_a_text_passes_whatever_else_is_in_the_batch(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    waveforms = [(0.1 * random.standard_normal(16000 * length)).astype(np.float32) for length in (1, 2, 3)]
    options = choose_decoding(bundle, None).options(bundle, None)
    judged: list[tuple[int, ...]] = []

    def suspicious(own: Hypothesis, *_: object) -> bool:
        judged.append(own.tokens)
        return len(own.tokens) % 3 != 0

    monkeypatch.setattr("asr.bundle.recognition.is_doubtful", lambda *_: True)
    monkeypatch.setattr("asr.bundle.recognition.is_suspicious", suspicious)
    together = bundle.decode(waveforms, [options] * 3)
    assert len(judged) > 6, "temperatures were tried"
    for waveform, decoded in zip(waveforms, together, strict=True):
        assert bundle.decode([waveform], [options])[0].n_best[0].tokens == decoded.n_best[0].tokens
    monkeypatch.setattr("asr.bundle.recognition.is_suspicious", lambda *_: True)
    never = bundle.decode(waveforms, [options] * 3)
    assert all(one.n_best for one in never)


def test_a_beam_search_counts_as_whisper_s_own_unless_the_user_says_otherwise(bundle: Bundle) -> None:
    def chosen(*overrides: str) -> tuple[int, float]:
        search = choose_decoding(bundle, None, SearchRequest("attention_beam", overrides)).search
        assert isinstance(search, AttentionBeamConfig)
        return search.beam, search.length_normalisation

    assert chosen() == (5, 1.0)
    assert chosen("search.beam=3", "search.length_normalisation=0.5") == (3, 0.5)
    assert choose_decoding(bundle, None, SearchRequest("attention_greedy")).search.name == "attention_greedy"
