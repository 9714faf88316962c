"""What the writers write, read by programs that others wrote: no transcript breaks a format.

Hypothesis makes the transcripts: texts with everything that means something in some format, times that leave no room.
"""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import parselmouth
import pytest
import srt
import webvtt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lhotse import SupervisionSegment, SupervisionSet
from parselmouth.praat import call as praat

from asr.transcribe.writers import WRITERS, TranscriptSource
from asr.types import Segment, Transcript, Word

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "transcript.schema.json"
SIGNS = [
    *("-->", "00:00:01.000 --> 00:00:02.000", "00:00:01,000 --> 00:00:02,000", "&", "&amp;", "<", "</v>", "<v Bob>"),
    *("<!--", "{\\an8}", '"', '""', "'", "\\", ";;", ";; a", "NOTE", "STYLE", "WEBVTT", "1", "text =", "<exists>"),
    *("\n\n", "\r", "\t", "\0", "\x1c", "\x85", "\u2028", "\xa0", "\ufeff", "\ud800", "\u202e", "\u200b", "\u0301"),
    *("אבג", "سلام،", "語音識別。", "「カー」", "한국어", "ภาษาไทย", "\U0001f469\u200d\U0001f467", "e\u0301", "a" * 90),
]
WORDS = st.one_of(
    st.sampled_from(SIGNS),
    st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=4).map("".join),
    st.lists(st.sampled_from("abc.,"), min_size=1, max_size=12).map("".join),
)
THOROUGH = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CONFIDENCES = st.none() | st.floats(0, 1)


@st.composite
def segments(draw: st.DrawFn, channel: int | None, duration: float) -> list[Segment]:
    """Segments of a channel, one after the other; often without room for their words, some without times of words.

    They may be past the end a little, as resampling makes them.
    """
    texts = draw(st.lists(st.lists(WORDS, max_size=6), max_size=3))
    num_times = 2 * sum(len(words) + 1 for words in texts)
    moments = draw(st.lists(st.floats(0, duration + 0.05), min_size=1, max_size=6))
    places = draw(st.lists(st.integers(0, len(moments) - 1), min_size=num_times, max_size=num_times))
    times = iter(sorted(moments[place] for place in places))
    made = []
    for words in texts:
        start = next(times)
        timed = tuple(Word(next(times), next(times), word, draw(CONFIDENCES)) for word in words)
        has_times = draw(st.booleans())
        made.append(
            Segment(start, next(times), " ".join(words), timed if has_times else (), draw(CONFIDENCES), channel)
        )
    return made


@st.composite
def transcripts(draw: st.DrawFn) -> tuple[Transcript, TranscriptSource]:
    duration = draw(st.sampled_from([1.0, 7.31, 29.9996, 36000.5]))
    channels = draw(st.sampled_from([(None,), (0,), (0, 1), (1, 4)]))
    made = [segment for channel in channels for segment in draw(segments(channel, duration))]
    name = draw(st.sampled_from(["a.wav", "my talk.mp3", ";;x.wav", "\udcff.wav", "dir/.wav", '"q".wav']))
    made.sort(key=lambda segment: segment.start)
    return Transcript(tuple(made)), TranscriptSource(name, duration, "exp/m", "0.1.0")


def written(name: str, made: tuple[Transcript, TranscriptSource]) -> str:
    """What a writer writes, as it comes back from a file."""
    return WRITERS[name](*made).encode("utf-8").decode("utf-8")


def letters(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Letters and digits of (channel, text), which must survive in any format, joined for each channel."""
    found: dict[str, str] = defaultdict(str)
    for channel, text in texts:
        found[channel] += "".join(character for character in text if character.isalnum())
    return {channel: text for channel, text in found.items() if text}


def said(made: tuple[Transcript, TranscriptSource]) -> dict[str, str]:
    return letters((channel_name(segment), segment.text) for segment in made[0].segments)


def channel_name(segment: Segment) -> str:
    return "" if segment.channel is None else str(segment.channel + 1)


def assert_cues(spans: list[tuple[str, int, int]], made: tuple[Transcript, TranscriptSource]) -> None:
    """Cues (channel, start, end), ms, have a length, come in order, end by the end and overlap in no channel."""
    assert all(0 <= start < end <= 1000 * made[1].duration for _, start, end in spans)
    assert [start for _, start, _ in spans] == sorted(start for _, start, _ in spans)
    for name in {channel for channel, _, _ in spans}:
        own = [(start, end) for channel, start, end in spans if channel == name]
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(own))


@THOROUGH
@given(made=transcripts())
def test_srt_parses_strictly_and_says_everything_in_order(made: tuple[Transcript, TranscriptSource]) -> None:
    cues = list(srt.parse(written("srt", made)))
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    found = [re.fullmatch(r"(?:\[(\d)\] )?(.*)", cue.content, flags=re.DOTALL) for cue in cues]
    shown = [(match[1] or "", match[2]) for match in found if match]
    assert letters(shown) == said(made)
    assert not any("\n\n" in text or "-->" in text for _, text in shown)
    ms = srt.timedelta(milliseconds=1)
    assert_cues([(name, cue.start // ms, cue.end // ms) for (name, _), cue in zip(shown, cues, strict=True)], made)


@THOROUGH
@given(made=transcripts())
def test_vtt_parses_strictly_and_says_everything_in_order(made: tuple[Transcript, TranscriptSource]) -> None:
    captions = webvtt.from_string(written("vtt", made), strict=True).captions
    voices = [(caption.voice or "").removeprefix("Channel ") for caption in captions]
    texts = [html.unescape(caption.text) for caption in captions]
    assert letters(zip(voices, texts, strict=True)) == said(made)
    times = [(caption.start_time.in_milliseconds(), caption.end_time.in_milliseconds()) for caption in captions]
    assert_cues([(voice, *span) for voice, span in zip(voices, times, strict=True)], made)


@THOROUGH
@given(made=transcripts())
def test_praat_reads_a_textgrid_and_finds_every_text_in_its_tier(
    made: tuple[Transcript, TranscriptSource], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("praat") / "a.TextGrid"
    path.write_text(written("textgrid", made), encoding="utf-8")
    grid = parselmouth.read(str(path))
    assert grid.xmax == pytest.approx(made[1].duration, abs=1e-6)
    labels = []
    for tier in range(1, praat(grid, "Get number of tiers") + 1):
        kind, _, channel = praat(grid, "Get tier name", tier).partition(" ")
        count = praat(grid, "Get number of intervals", tier)
        edges = [praat(grid, "Get start time of interval", tier, place + 1) for place in range(count)]
        assert edges[0] == 0.0
        assert all(one < other for one, other in itertools.pairwise([*edges, grid.xmax]))
        texts = [praat(grid, "Get label of interval", tier, place + 1) for place in range(count)]
        labels += [(channel, text) for text in texts if kind == "segments"]
    assert letters(labels) == said(made)


@THOROUGH
@given(made=transcripts())
def test_lhotse_reads_every_word_of_a_ctm(
    made: tuple[Transcript, TranscriptSource], tmp_path_factory: pytest.TempPathFactory
) -> None:
    transcript, source = made
    path = tmp_path_factory.mktemp("ctm") / "a.ctm"
    path.write_text(written("ctm", made), encoding="utf-8")
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    places = [(row[0], int(row[1]), float(row[2])) for row in rows]
    assert all(round(1000 * (float(row[2]) + float(row[3]))) <= 1000 * source.duration for row in rows)
    assert places == sorted(places)  # as sclite wants them
    assert not any(name.startswith(";;") for name, _, _ in places)  # which would be comments
    whole = SupervisionSet.from_segments(
        SupervisionSegment(str(channel), name, 0, source.duration, channel)
        for name, channel in {(name, channel) for name, channel, _ in places}
    )
    found = [
        (str(supervision.channel), item.symbol)
        for supervision in whole.with_alignment_from_ctm(path, match_channel=True)
        for item in supervision.alignment["word"]
    ]
    timed = [(channel_name(one) or "1", word.text) for one in transcript.segments for word in one.words]
    assert letters(found) == letters(timed)


@THOROUGH
@given(made=transcripts())
def test_json_fits_the_published_schema_and_says_everything_in_order(made: tuple[Transcript, TranscriptSource]) -> None:
    value = json.loads(written("json", made))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(value)
    spoken = [(str(one["channel"] + 1) if "channel" in one else "", one["text"]) for one in value["segments"]]
    assert letters(spoken) == said(made)
    assert all(0 <= one["start"] <= one["end"] <= value["duration"] for one in value["segments"])


def test_the_published_schema_is_one_and_refuses_what_is_not_in_it() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    transcript = Transcript((Segment(0.0, 1.0, "a", (Word(0.0, 1.0, "a", 1.0),), 1.0),))
    value = json.loads(WRITERS["json"](transcript, TranscriptSource("a.wav", 1.0, "m", "1")))
    value["segments"][0]["words"][0]["speaker"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="speaker"):
        jsonschema.validate(value, schema)


@THOROUGH
@given(made=transcripts())
def test_a_table_reads_as_a_row_for_every_segment(made: tuple[Transcript, TranscriptSource]) -> None:
    header, *rows = csv.reader(io.StringIO(written("tsv", made)), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert header in (["start", "end", "text"], ["start", "end", "text", "channel"])
    assert all(len(row) == len(header) for row in rows)
    assert all(0 <= int(row[0]) <= int(row[1]) <= 1000 * made[1].duration for row in rows)
    assert letters((str(int(row[3]) + 1) if len(row) > 3 else "", row[2]) for row in rows) == said(made)
    assert len(rows) == len(made[0].segments)
