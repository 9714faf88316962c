"""Models that hear windows of fixed length: rows do not know each other, and loops are decoded from a whole window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.decode import choose_decoding
from asr.bundle.foreign import import_model
from asr.bundle.loops import is_loop
from asr.bundle.recognition import DecodeOptions
from asr.errors import ConfigError
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import SegmentationConfig
from tests.bundle.foreign.whisper_files import random_variables, write_model

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("whisper")
    write_model(own / "source", random_variables())
    import_model(own / "source", own / "model")
    return own / "model"


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def options(bundle: Bundle) -> DecodeOptions:
    return DecodeOptions(choose_decoding(bundle, None).build(bundle, None))


def test_a_row_says_the_same_alone_and_beside_longer_ones(bundle: Bundle) -> None:
    waveforms = [noise(0.4), noise(2.5, seed=1), noise(9.0, seed=2), noise(0.0)]
    together = bundle.decode(waveforms, [options(bundle)] * 4)
    for waveform, decoded in zip(waveforms, together, strict=True):
        alone = bundle.decode([waveform], [options(bundle)])[0]
        assert alone.n_best[0].tokens == decoded.n_best[0].tokens
        assert alone.n_best[0].score == pytest.approx(decoded.n_best[0].score, abs=1e-3)


def test_a_text_that_cannot_be_trusted_is_decoded_from_a_whole_window(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    waveforms = [noise(1.0), noise(2.0, seed=1)]
    monkeypatch.setattr("asr.bundle.recognition.is_suspicious", lambda *_: False)
    monkeypatch.setattr("asr.bundle.recognition.is_doubtful", lambda *_: False)
    plain = bundle.decode(waveforms, [options(bundle)] * 2)
    whole = bundle.decode([np.pad(waveforms[1], (0, 28 * RATE))], [options(bundle)])[0]
    scores = [one.n_best[0].score for one in plain]
    assert abs(whole.n_best[0].score - scores[1]) > 0.01, "the length decides"
    judged = iter([False, True])
    monkeypatch.setattr("asr.bundle.recognition.is_doubtful", lambda *_: next(judged))
    again = bundle.decode(waveforms, [options(bundle)] * 2)
    assert [one.n_best[0].score for one in again] == pytest.approx([scores[0], whole.n_best[0].score], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Is it going? " * 6, True), ("abc" * 60, True), ("The quick brown fox, no no no.", False), ("", False)],
)
def test_what_looks_like_a_loop(text: str, expected: bool) -> None:
    assert is_loop(text) is expected


def test_what_was_said_before_and_the_language_go_into_the_prompt(folder: Path) -> None:
    recognizer = Recognizer.load(folder, device="cpu")
    vocabulary = recognizer.bundle.tokenizer.vocabulary
    pieces = ["<|startofprev|>", *"\u0120go", "<|startoftranscript|>"]
    said = recognizer._spans.decode_options(RequestOptions(prompt="go", language="en"))
    assert said.prompt == tuple(vocabulary.id(piece) for piece in pieces)
    with pytest.raises(ConfigError, match="does not know a language 'de'"):
        recognizer._spans.decode_options(RequestOptions(language="de"))


def test_spans_longer_than_a_window_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="max_span 29 s with padding around it is more than the 30 s"):
        Recognizer.load(folder, device="cpu", segmentation=SegmentationConfig(max_span=29.0))
