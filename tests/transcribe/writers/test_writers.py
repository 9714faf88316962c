"""Transcripts as files of every format."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.scoring.texts import open_texts
from asr.transcribe.inputs import plan_outputs
from asr.transcribe.recordings import FileRecording
from asr.transcribe.subtitles import SubtitleRules
from asr.transcribe.timeline import recording_end
from asr.transcribe.writers import WRITERS, TranscriptSource
from asr.types import Segment, Transcript, Word

SOURCE = TranscriptSource("talks/a.wav", 3.25, "exp/m", "0.1.0")
TRANSCRIPT = Transcript(
    (
        Segment(0.0, 1.5, "grüße an", (Word(0.12345, 0.5, "grüße"), Word(0.5, 1.5, "an"))),
        Segment(1.5, 3.25, "alle", (), 0.5),
    )
)


def test_json_has_exactly_the_keys_of_the_design_in_their_order() -> None:
    value = json.loads(WRITERS["json"](TRANSCRIPT, SOURCE))
    assert list(value) == [
        "audio", "duration", "text", "segments", "model", "version", "language", "uncovered",
    ]  # fmt: skip
    assert list(value["segments"][0]) == ["start", "end", "text", "confidence", "words"]
    assert list(value["segments"][0]["words"][0]) == ["start", "end", "text", "confidence"]


def test_json_tells_everything_in_seconds_to_the_millisecond() -> None:
    value = json.loads(WRITERS["json"](TRANSCRIPT, SOURCE))
    assert (value["audio"], value["duration"], value["model"], value["version"]) == (
        "talks/a.wav",
        3.25,
        "exp/m",
        "0.1.0",
    )
    assert value["text"] == "grüße an alle"
    assert value["segments"][0]["words"][0] == {"start": 0.123, "end": 0.5, "text": "grüße", "confidence": None}
    assert value["segments"][1] == {"start": 1.5, "end": 3.25, "text": "alle", "confidence": 0.5, "words": []}


def test_json_tells_what_the_model_knows_of_a_segment_and_where_speech_has_no_text() -> None:
    measures = {"compression_ratio": 1.23456, "no_speech": 0.01, "avg_logprob": -0.25, "of its own": 1.0}
    segment = Segment(0.0, 1.0, "da", language="de", measures=measures)
    value = json.loads(WRITERS["json"](Transcript((segment,), "de", ((1.0001, 2.5),)), SOURCE))
    assert (value["language"], value["uncovered"]) == ("de", [[1.0, 2.5]])
    assert list(value["segments"][0])[5:] == ["language", "avg_logprob", "no_speech", "compression_ratio"]
    assert list(value["segments"][0].values())[5:] == ["de", -0.25, 0.01, 1.2346]


def test_json_is_one_line_of_readable_letters() -> None:
    text = WRITERS["json"](TRANSCRIPT, SOURCE)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "grüße" in text


def test_text_is_one_line_per_segment() -> None:
    assert WRITERS["txt"](TRANSCRIPT, SOURCE) == "grüße an\nalle\n"


def test_nothing_said_is_an_empty_file_and_a_json_without_segments() -> None:
    assert WRITERS["txt"](Transcript(()), SOURCE) == ""
    value = json.loads(WRITERS["json"](Transcript(()), SOURCE))
    assert (value["text"], value["segments"]) == ("", [])


TIMED = Transcript(
    (
        Segment(0.5, 2.0, 'say "hi"', (Word(0.5, 1.0, "say", 0.75), Word(1.25, 2.0, '"hi"', 1.0)), 0.875),
        Segment(2.0, 3661.0, "later", (Word(3660.0, 3661.0, "later"),)),
    )
)
TALK = Transcript(
    (
        Segment(0.5, 1.5, "hello", (Word(0.5, 1.5, "hello"),), channel=0),
        Segment(1.0, 2.5, "hi", (Word(1.0, 2.5, "hi"),), channel=1),
        Segment(3.0, 3.5, "fine", (Word(3.0, 3.5, "fine"),), channel=0),
    )
)
LONG = TranscriptSource("talks/my talk.wav", 3662.5, "exp/m", "0.1.0")


def test_ctm_has_a_line_for_every_word(tmp_path: Path) -> None:
    text = WRITERS["ctm"](TIMED, LONG)
    assert text == (
        'my_talk 1 0.500 0.500 say 0.7500\nmy_talk 1 1.250 0.750 "hi" 1.0000\nmy_talk 1 3660.000 1.000 later\n'
    )
    (tmp_path / "a.ctm").write_text(text, encoding="utf-8")
    (file,) = open_texts(tmp_path / "a.ctm")
    assert [(row.id, row.text) for row in file.rows()] == [("my_talk", 'say "hi" later')]


def test_ctm_and_textgrid_count_channels_from_one_and_keep_them_apart() -> None:
    assert [line.split()[1:5] for line in WRITERS["ctm"](TALK, LONG).splitlines()] == [
        ["1", "0.500", "1.000", "hello"],
        ["1", "3.000", "0.500", "fine"],
        ["2", "1.000", "1.500", "hi"],
    ]
    tiers = read_textgrid(WRITERS["textgrid"](TALK, LONG))
    assert list(tiers) == ["segments 1", "words 1", "segments 2", "words 2"]
    assert [text for _, _, text in tiers["words 1"] if text] == ["hello", "fine"]


def test_durations_of_a_ctm_are_between_rounded_times_so_that_no_word_overlaps() -> None:
    words = (Word(0.1234, 0.4326, "a"), Word(0.4326, 0.5, "b"))
    text = WRITERS["ctm"](Transcript((Segment(0.0, 1.0, "a b", words),)), LONG)
    assert [line.split()[2:4] for line in text.splitlines()] == [["0.123", "0.310"], ["0.433", "0.067"]]


def test_srt_numbers_its_cues_and_vtt_marks_points() -> None:
    assert WRITERS["srt"](TIMED, LONG) == (
        '1\n00:00:00,500 --> 00:00:02,000\nsay "hi"\n\n2\n01:01:00,000 --> 01:01:01,000\nlater\n\n'
    )
    assert WRITERS["vtt"](TIMED, LONG) == (
        'WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nsay "hi"\n\n01:01:00.000 --> 01:01:01.000\nlater\n'
    )


def test_subtitles_name_the_channel() -> None:
    assert [line for line in WRITERS["srt"](TALK, LONG).splitlines() if "[" in line] == [
        "[1] hello",
        "[2] hi",
        "[1] fine",
    ]
    assert "\n<v Channel 2>hi\n" in WRITERS["vtt"](TALK, LONG)


def test_the_channel_counts_as_part_of_a_line_of_srt() -> None:
    transcript = Transcript((Segment(0.0, 9.0, "one two three four five six", channel=0),))
    lines = WRITERS["srt"](transcript, LONG, SubtitleRules(max_line_length=13)).splitlines()
    assert "[1] one two" in lines
    assert all(len(line) <= 13 for line in lines if "-->" not in line)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_heed_the_rules_given(name: str) -> None:
    text = WRITERS[name](TIMED, LONG, SubtitleRules(max_line_length=5))
    assert '\nsay\n"hi"\n' in text


def test_vtt_escapes_what_would_be_markup_and_srt_has_another_arrow() -> None:
    transcript = Transcript((Segment(0.0, 5.0, "a --> b & <i>c"),))
    assert "a --&gt; b &amp; &lt;i&gt;c\n" in WRITERS["vtt"](transcript, SOURCE)
    assert "a → b & <i>c\n" in WRITERS["srt"](transcript, SOURCE)


def test_tsv_is_whispers_table_in_milliseconds() -> None:
    assert WRITERS["tsv"](TRANSCRIPT, SOURCE) == "start\tend\ttext\n0\t1500\tgrüße an\n1500\t3250\talle\n"


def test_tsv_and_json_count_channels_from_zero_and_text_from_one() -> None:
    assert WRITERS["tsv"](TALK, LONG).splitlines()[:3] == [
        "start\tend\ttext\tchannel",
        "500\t1500\thello\t0",
        "1000\t2500\thi\t1",
    ]
    assert [segment["channel"] for segment in json.loads(WRITERS["json"](TALK, LONG))["segments"]] == [0, 1, 0]
    assert WRITERS["txt"](TALK, LONG) == "[1] hello\n[2] hi\n[1] fine\n"


def test_a_text_of_several_lines_is_one_line_where_a_line_means_a_segment() -> None:
    transcript = Transcript((Segment(0.0, 1.0, "a\n\nb\tc"),))
    assert WRITERS["txt"](transcript, SOURCE) == "a b c\n"
    assert WRITERS["tsv"](transcript, SOURCE).splitlines()[1] == "0\t1000\ta b c"


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_file_name_that_is_not_utf_8_can_be_written(name: str) -> None:
    assert WRITERS[name](TIMED, TranscriptSource("\udcff.wav", 3662.5, "m", "1")).encode("utf-8")


def read_textgrid(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """The tiers of a TextGrid in the long format; the sizes it states must be right."""
    header, *tiers = re.split(r"\n {4}item \[\d+\]:\n", text)
    assert f"size = {len(tiers)}\n" in header
    assert header.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = ')
    found = {}
    for tier in tiers:
        name = re.search(r'name = "(.*)"', tier)
        size = re.search(r"intervals: size = (\d+)", tier)
        assert name is not None
        assert size is not None
        rows = re.findall(r'xmin = (\S+)\n +xmax = (\S+)\n +text = "((?:[^"]|"")*)"', tier)
        assert len(rows) == int(size[1])
        found[name[1]] = [(float(start), float(end), label.replace('""', '"')) for start, end, label in rows]
    return found


def test_a_textgrid_has_segments_and_words_and_the_gaps_between() -> None:
    assert read_textgrid(WRITERS["textgrid"](TIMED, LONG)) == {
        "segments": [(0, 0.5, ""), (0.5, 2, 'say "hi"'), (2, 3661, "later"), (3661, 3662.5, "")],
        "words": [
            (0, 0.5, ""),
            (0.5, 1, "say"),
            (1, 1.25, ""),
            (1.25, 2, '"hi"'),
            (2, 3660, ""),
            (3660, 3661, "later"),
            (3661, 3662.5, ""),
        ],
    }


def test_nothing_said_is_a_textgrid_of_silence_and_no_lines_elsewhere() -> None:
    assert read_textgrid(WRITERS["textgrid"](Transcript(()), SOURCE)) == {
        "segments": [(0, 3.25, "")],
        "words": [(0, 3.25, "")],
    }
    assert WRITERS["ctm"](Transcript(()), SOURCE) == WRITERS["srt"](Transcript(()), SOURCE) == ""
    assert WRITERS["vtt"](Transcript(()), SOURCE) == "WEBVTT\n"


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), max_size=20).map(sorted), st.floats(0.01, 120))
def test_the_intervals_of_a_textgrid_follow_each_other_without_gaps(moments: list[float], duration: float) -> None:
    words = tuple(Word(start, end, "a") for start, end in zip(moments[::2], moments[1::2], strict=False))
    transcript = Transcript((Segment(words[0].start, words[-1].end, "a", words),) if words else ())
    end = max(duration, recording_end(transcript, duration) / 1000)
    for intervals in read_textgrid(WRITERS["textgrid"](transcript, TranscriptSource("a", duration, "m", "1"))).values():
        assert intervals[0][0] == 0
        assert intervals[-1][1] == pytest.approx(end, abs=1e-6)
        assert all(start < stop for start, stop, _ in intervals)
        assert all(one[1] == other[0] for one, other in itertools.pairwise(intervals))


def test_a_textgrid_file_has_the_suffix_praat_knows(tmp_path: Path) -> None:
    (job,) = plan_outputs([FileRecording(Path("a.wav"), Path("a.wav"))], ["textgrid", "srt"], tmp_path)
    assert job.outputs == {"textgrid": tmp_path / "a.TextGrid", "srt": tmp_path / "a.srt"}
