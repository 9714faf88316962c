"""Aligning recordings that are encoded in several windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.alignment.forced import with_wildcard
from asr.alignment.timing import loudness
from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.errors import AsrError
from asr.transcribe.align import aligner, encoding
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.encoding import EncodedRecording, StoredLogProbs, block_samples, encode_recording
from asr.transcribe.align.script import script_line
from asr.types import EncoderOutput
from tests.conftest import melody

ROOT = Path(__file__).resolve().parents[3]
RATE = 16000


@pytest.fixture(scope="module")
def bundle(tiny_workspace: Path) -> Bundle:
    return Bundle.load(tiny_workspace / "model")


def blocks_of(waveform: np.ndarray) -> Iterator[np.ndarray]:
    size = block_samples(RATE)
    return (waveform[start : start + size] for start in range(0, len(waveform), size))


def encode(bundle: Bundle, waveform: np.ndarray) -> EncodedRecording:
    return encode_recording(bundle, blocks_of(waveform), StoredLogProbs())


@pytest.mark.parametrize("seconds", [61.234, 33.0, 30.01, 30.0, 7.0])
def test_frames_of_all_windows_are_those_of_the_whole(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """The model here answers to the sound of each encoder frame alone, so context cannot blur a shift."""
    monkeypatch.setattr(bundle.frontend.cmvn, "forward", lambda features, _lens: features)
    monkeypatch.setattr(
        bundle.model, "encode", lambda features, lens: EncoderOutput(features[:, ::4, :20], -(-lens // 4))
    )
    monkeypatch.setattr(bundle.model.heads["ctc"], "log_probs", lambda encoded: encoded.frames)
    waveform = melody(1, seconds)
    recording = encode(bundle, waveform)
    samples = torch.from_numpy(waveform)[None]
    whole = bundle.frontend(samples, torch.tensor([samples.shape[1]]))[0][0, ::4, :20].numpy()
    written = [column for column in range(20) if column != bundle.tokenizer.vocabulary.unk]
    assert len(recording.log_probs) == len(whole)
    np.testing.assert_allclose(recording.log_probs[0 : len(whole)][:, written], whole[:, written], atol=1e-4)


@pytest.mark.parametrize("seconds", [25.0, 20.0, 10.005, 0.0])
def test_loudness_is_that_of_the_whole(bundle: Bundle, seconds: float) -> None:
    waveform = melody(2, seconds)
    recording = encode(bundle, waveform)
    np.testing.assert_array_equal(recording.loudness, loudness(waveform, RATE))
    assert recording.duration == len(waveform) / RATE


@pytest.mark.parametrize("spool_bytes", [0, 100, 1 << 20])
def test_log_probabilities_come_back_from_memory_and_from_disk(
    monkeypatch: pytest.MonkeyPatch, spool_bytes: int
) -> None:
    monkeypatch.setattr(encoding, "SPOOL_BYTES", spool_bytes)
    rows = np.random.default_rng(0).normal(size=(90, 7)).astype(np.float32)
    with StoredLogProbs() as stored:
        for part in np.split(rows, [11, 40, 40]):
            stored.append(part)
        assert len(stored) == 90
        for frames in (slice(0, 90), slice(30, 50), slice(80, 200), slice(50, 50)):
            np.testing.assert_array_equal(stored[frames], rows[frames])


def test_a_full_disk_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with StoredLogProbs() as stored:

        def full(_content: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(stored._file, "write", full)
        with pytest.raises(AsrError, match=r"cannot keep the model's output there \(No space left on device\)"):
            stored.append(np.zeros((2, 3)))


def test_minutes_that_are_in_one_of_text_and_recording_only_move_nothing_else(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes: an intro and a minute in the middle are in no line, and fifteen lines are not spoken."""
    rng = np.random.default_rng(3)
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    tokens_of = {word: list(script_line(1, word, bundle).words[0].tokens) for word in digits}
    said = np.full(25 * 300, bundle.tokenizer.vocabulary.blank)
    lines: list[tuple[str, float | None]] = []
    frame = 25
    while frame < len(said) - 150:
        words = rng.choice(digits, 5).tolist()
        unwritten = frame < 25 * 30 or 25 * 120 < frame < 25 * 180
        if not unwritten:
            lines.append((" ".join(words), frame * 0.04))
        for index, word in enumerate(words):
            for token in [*(bundle.tokenizer.separator if index else ()), *tokens_of[word]]:
                said[frame] = token
                frame += 2
        frame += int(rng.integers(10, 40))
    absent = [(" ".join(rng.choice(digits, 5)), None) for _ in range(15)]
    lines[20:20] = absent
    posteriors = np.full((len(said), bundle.tokenizer.vocab_size), 1e-3, dtype=np.float32)
    posteriors[np.arange(len(said)), said] = 1.0
    log_probs = StoredLogProbs()
    said_log_probs = torch.from_numpy(posteriors / posteriors.sum(1, keepdims=True)).log()
    log_probs.append(with_wildcard(said_log_probs, bundle.tokenizer.vocabulary).numpy())
    recording = EncodedRecording(log_probs, np.zeros(30_001), 300.0)
    monkeypatch.setattr(aligner, "encode_recording", lambda *_arguments: recording)
    script = [script_line(number, text, bundle) for number, (text, _) in enumerate(lines, start=1)]
    aligned = Aligner(bundle).align_waveform(np.zeros(0, dtype=np.float32), script)
    assert [(one.line, one.whole) for one in aligned.unspoken] == [(number, True) for number in range(21, 36)]
    for segment, (text, start) in zip(aligned.transcript.segments, lines, strict=True):
        assert segment.text == text
        assert start is None or segment.start == pytest.approx(start, abs=0.05)


def test_real_utterances_joined_are_each_found_in_their_place(corpora: Path) -> None:
    """AN4, 26 utterances of one speaker: more than one window; a line is missing from the text, another not spoken."""
    folder = corpora / "an4"
    rows = (folder / "etc" / "an4_train.transcription").read_text().splitlines()[:26]
    texts = [row.split("<s>")[1].split("</s>")[0].strip() for row in rows]
    paths = (folder / "etc" / "an4_train.fileids").read_text().split()[:26]
    bundle = Bundle.load(ROOT / "recipes" / "an4" / "model")
    pieces, bounds, reached = [], [], 0.0
    for path in paths:
        waveform = load_audio(folder / "wav" / f"{path}.sph", RATE)
        pieces += [waveform, np.zeros(RATE // 2, dtype=np.float32)]
        bounds.append((reached, reached + len(waveform) / RATE))
        reached += len(waveform) / RATE + 0.5
    del texts[20], bounds[20]
    lines = [*texts[:8], "NOVEMBER THE THIRTIETH NINETEEN EIGHTY", *texts[8:]]
    script = [script_line(number, text, bundle) for number, text in enumerate(lines, start=1)]
    aligned = Aligner(bundle).align_waveform(np.concatenate(pieces), script)
    assert reached > 2 * encoding.WINDOW_SECONDS
    assert [one.line for one in aligned.unspoken if one.whole] == [9]
    segments = [segment for number, segment in enumerate(aligned.transcript.segments, start=1) if number != 9]
    for segment, (start, end) in zip(segments, bounds, strict=True):
        assert start - 0.1 <= segment.start < segment.end <= end + 0.5  # the pause
