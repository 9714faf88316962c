"""Aligning with models that have no CTC head: words are read in the span of speech where they were heard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model
from asr.errors import ConfigError
from asr.transcribe.align import build_aligner
from asr.transcribe.align.aligner import Alignment, Unspoken
from asr.transcribe.align.by_decoder import DecoderAligner, _Recognized
from asr.transcribe.align.script import ScriptLine, script_line
from asr.transcribe.segmentation import Span
from tests.bundle.foreign.whisper_files import random_variables, write_model

RATE = 16000
SPEECH = ((1.0, 3.0), (5.0, 8.0))  # seconds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    own = tmp_path_factory.mktemp("whisper")
    write_model(own / "source", random_variables())
    import_model(own / "source", own / "model")
    return Bundle.load(own / "model")


def lines_of(bundle: Bundle, *texts: str) -> list[ScriptLine]:
    return [script_line(number, text, bundle) for number, text in enumerate(texts, start=1)]


def align(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, heard: Sequence[tuple[str, int]], *texts: str) -> Alignment:
    """A recording with two stretches of speech, in which the model hears words (word, stretch)."""
    waveform = np.random.default_rng(0).standard_normal(9 * RATE).astype(np.float32) * 1e-4
    for start, end in SPEECH:
        waveform[round(start * RATE) : round(end * RATE)] *= 2000
    spans = [
        Span(round((a - 0.1) * RATE), waveform[round((a - 0.1) * RATE) : round((b + 0.1) * RATE)], RATE, (0, 0))
        for a, b in SPEECH
    ]
    monkeypatch.setattr(
        "asr.transcribe.align.by_decoder.Segmenter.spans", lambda _self, blocks: [list(blocks), spans][1]
    )
    found = [_Recognized(word, span) for word, span in heard]
    monkeypatch.setattr(DecoderAligner, "_recognized", lambda *_: found)
    aligner = build_aligner(bundle)
    assert isinstance(aligner, DecoderAligner)
    return aligner.align_waveform(waveform, lines_of(bundle, *texts))


def test_words_are_in_the_stretch_where_they_were_heard(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = [("the", 0), ("heat", 0), ("is", 1), ("on", 1)]
    aligned = align(bundle, monkeypatch, heard, "The heat \u2013", "is on!")
    assert aligned.unspoken == ()
    first, second = aligned.transcript.segments
    assert (first.text, second.text) == ("The heat \u2013", "is on!")
    assert [word.text for word in first.words] == ["The", "heat \u2013"]
    for segment, (start, end) in zip((first, second), SPEECH, strict=True):
        assert segment.start == pytest.approx(start, abs=0.05)
        assert segment.end == pytest.approx(end, abs=0.05)
        moments = [moment for word in segment.words for moment in (word.start, word.end)]
        assert moments == sorted(moments)
        assert segment.confidence is not None


def test_lines_that_nobody_said_are_named_and_stand_between_the_others(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = [("the", 0), ("heat", 0), ("is", 1), ("on", 1)]
    aligned = align(bundle, monkeypatch, heard, "the heat", "quixotic zebra jumps", "is on")
    assert aligned.unspoken == (Unspoken(2, "quixotic zebra jumps", True),)
    first, second, third = aligned.transcript.segments
    assert first.end <= second.start <= second.end <= third.start
    assert second.confidence == 0.0


def test_a_word_that_was_misheard_has_its_place_and_characters_are_words_where_there_are_no_spaces(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = [("the", 0), ("heap", 0), ("\u65e5", 1), ("\u672c", 1)]
    aligned = align(bundle, monkeypatch, heard, "the heat", "\u65e5\u672c\u3002")
    assert [segment.text for segment in aligned.transcript.segments] == ["the heat", "\u65e5\u672c\u3002"]
    assert [word.text for word in aligned.transcript.segments[1].words] == ["\u65e5", "\u672c\u3002"]
    assert aligned.unspoken == ()


def test_nothing_heard_leaves_every_line_unspoken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    aligned = align(bundle, monkeypatch, [], "the heat", "is on")
    assert [one.line for one in aligned.unspoken] == [1, 2]
    assert len(aligned.transcript.segments) == 2


def test_a_language_that_a_model_does_not_know_is_named(bundle: Bundle, tiny_workspace: Path) -> None:
    with pytest.raises(ConfigError, match="does not know a language 'de'"):
        build_aligner(bundle, language="de")
    with pytest.raises(ConfigError, match="leave --language out"):
        build_aligner(Bundle.load(tiny_workspace / "model"), language="de")
