"""Cues that can be read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import ConfigError
from asr.transcribe.display import display_width
from asr.transcribe.subtitles import Cue, SubtitleRules, cheapest_split, lay_out_cues
from asr.types import Segment, Transcript, Word

SENTENCES = (
    "The prison population fluctuated a great deal, but it was full. Neild gives some figures which illustrate this."
)


def spoken(text: str, start: float = 0.0, seconds: float = 0.4, pauses: dict[str, float] | None = None) -> Segment:
    """A segment whose words last `seconds` each, with pauses after some of them."""
    words = []
    for word in text.split():
        words.append(Word(start, start + seconds, word))
        start += seconds + (pauses or {}).get(word, 0.0)
    return Segment(words[0].start, words[-1].end, text, tuple(words))


def cues_of(*segments: Segment, duration: float = 100.0, **rules: float) -> list[Cue]:
    return lay_out_cues(Transcript(segments), duration, SubtitleRules(**rules))  # type: ignore[arg-type]


def texts(cues: list[Cue]) -> list[str]:
    return ["\n".join(cue.lines) for cue in cues]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(0, 10), min_size=1, max_size=7), min_size=1, max_size=7))
def test_the_cheapest_split_costs_as_little_as_the_best_of_all_splits(rows: list[list[float]]) -> None:
    size = len(rows)
    prices = {(start, start + n + 1): price for start, row in enumerate(rows) for n, price in enumerate(row)}
    inner = range(1, size)
    every = [
        list(itertools.pairwise([0, *cuts, size]))
        for count in range(size)
        for cuts in itertools.combinations(inner, count)
    ]
    allowed = [sum(prices[part] for part in parts) for parts in every if all(part in prices for part in parts)]
    found = cheapest_split(size, lambda start: rows[start][: size - start])
    assert sum(prices[part] for part in found) == pytest.approx(min(allowed))
    assert [found[0][0], found[-1][1]] == [0, size]


def test_cues_end_with_sentences_and_clauses() -> None:
    assert texts(cues_of(spoken(SENTENCES))) == [
        "The prison population fluctuated\na great deal, but it was full.",
        "Neild gives some figures\nwhich illustrate this.",
    ]


def test_a_text_without_marks_is_cut_at_its_longest_silence() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    (first, second) = texts(cues_of(spoken(words, seconds=0.25, pauses={"seven": 0.5, "eleven": 0.1})))
    assert first.split()[-1] == "seven"
    assert second.split()[0] == "eight"


@pytest.mark.parametrize(("pause", "count"), [(0.79, 1), (0.81, 2)])
def test_a_pause_ends_a_cue(pause: float, count: int) -> None:
    assert len(cues_of(spoken("well then", pauses={"well": pause}))) == count


def test_without_a_shortest_pause_every_word_is_a_cue() -> None:
    assert texts(cues_of(spoken("one by one"), pause_seconds=0)) == ["one", "by", "one"]


def test_lines_are_as_few_as_can_be_and_of_similar_length() -> None:
    (cue,) = cues_of(spoken("this line has rather more than forty-two columns"))
    assert cue.lines == ("this line has rather more", "than forty-two columns")
    (cue,) = cues_of(spoken("this line has exactly forty-two columns ok"))
    assert cue.lines == ("this line has exactly forty-two columns ok",)


def test_no_word_is_left_alone_in_a_cue() -> None:
    sizes = [len(text.split()) for text in texts(cues_of(spoken("alpha " * 16, seconds=0.3), max_lines=1))]
    assert max(sizes) - min(sizes) <= 1


def test_lines_are_as_few_as_can_be_even_where_more_would_end_with_sentences() -> None:
    (cue,) = cues_of(spoken("alpha bravo charlie d. " * 3, seconds=0.3), max_lines=3)
    assert len(cue.lines) == 2


def test_a_cue_too_brief_to_be_seen_is_worse_than_a_cut_inside_a_phrase() -> None:
    text = "No. abcde fghij klmno pq"
    slow = cues_of(spoken(text, seconds=1.0), max_lines=1, max_line_length=20)
    fast = cues_of(spoken(text, seconds=0.25), max_lines=1, max_line_length=20)
    assert texts(slow)[0] == "No."
    assert texts(fast)[0] == "No. abcde fghij"


def test_what_is_said_fast_shares_a_cue_with_what_leaves_time_to_read_it() -> None:
    text = "aaaaaaaa bbbbbbbb cccc dddd"
    ends = [0.6, 0.9, 1.0, 1.1]
    timed = tuple(map(Word, [0.0, *ends], ends, text.split()))
    rules = {"max_lines": 1, "max_line_length": 20, "min_duration": 0}
    hurried = cues_of(Segment(0.0, 1.1, text, timed), duration=1.1, **rules)
    at_ease = cues_of(Segment(0.0, 1.1, text, timed), duration=1.1, max_chars_per_second=100, **rules)
    assert texts(hurried)[0] == "aaaaaaaa"
    assert texts(at_ease)[0] == "aaaaaaaa bbbbbbbb"


def test_a_cue_keeps_half_of_the_time_to_the_next_if_the_gap_would_take_more() -> None:
    first, _ = cues_of(spoken("yes", 0.0, 0.1), spoken("no", 0.1, 0.3))
    assert (first.start, first.end) == (0, 50)


def test_a_cue_stays_on_in_silence_until_it_can_be_read() -> None:
    (cue,) = cues_of(spoken("unbelievable", seconds=0.2))
    assert (cue.start, cue.end) == (0, 833)
    (cue,) = cues_of(spoken("an unbelievable number of letters", seconds=0.1))
    assert cue.end == 1000 * 33 // 17


def test_a_cue_makes_room_for_the_next_and_for_the_end() -> None:
    first, second = cues_of(spoken("yes", 0.0, 0.3), spoken("no", 0.4, 0.3), duration=0.8)
    assert (first.start, first.end, second.start, second.end) == (0, 320, 400, 800)


def test_no_cue_holds_text_of_two_segments() -> None:
    assert texts(cues_of(spoken("a b"), spoken("c d", 0.9))) == ["a b", "c d"]


def test_a_sentence_that_goes_on_in_the_next_segment_is_laid_out_as_one() -> None:
    first, second = spoken("It was kept there once in Mr. Ackerman's"), spoken("time, one thousand.", start=3.2)
    assert texts(cues_of(first, second)) == ["It was kept there once in\nMr. Ackerman's time, one thousand."]
    assert len(cues_of(first, spoken("time, one thousand.", start=4.5))) == 2, "after a pause"
    assert len(cues_of(first, spoken("time one thousand", start=3.2))) == 2, "nobody writes where sentences end"
    chinese = Segment(0.0, 2.0, "\u6211\u4eec\u8bf4"), Segment(2.1, 4.0, "\u65e5\u672c\u8bed\u3002")
    assert texts(cues_of(*chinese)) == ["\u6211\u4eec\u8bf4\u65e5\u672c\u8bed\u3002"]


def test_a_word_longer_than_a_line_is_cut_and_no_other() -> None:
    (cue,) = cues_of(spoken("of Donaudampfschifffahrt an", seconds=0.5), max_line_length=10, max_lines=4)
    assert cue.lines == ("of", "Donaudampf", "schifffahr", "t an")


def test_chinese_is_cut_by_columns_and_not_before_a_mark() -> None:
    (cue,) = cues_of(Segment(0.0, 4.0, "语音识别技术\uff0c也被称为自动识别。"), max_line_length=20)
    assert cue.lines == ("语音识别技术\uff0c", "也被称为自动识别。")


def test_channels_are_laid_out_apart_and_merged_in_time() -> None:
    one = Segment(0.0, 5.0, "how are you today", channel=0)
    two = Segment(2.0, 6.0, "fine thanks", channel=1)
    three = Segment(5.0, 8.0, "good", channel=0)
    cues = cues_of(one, two, three)
    assert [(cue.channel, cue.start, cue.end) for cue in cues] == [(0, 0, 4920), (1, 2000, 6000), (0, 5000, 8000)]


@pytest.mark.parametrize("name", ["max_line_length", "max_lines", "max_duration", "min_gap", "pause_seconds"])
def test_a_rule_out_of_range_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        SubtitleRules(**{name: -1})
    with pytest.raises(ConfigError, match=name):
        SubtitleRules(**{name: float("nan")})


def test_a_rule_may_be_switched_off() -> None:
    no_limit = float("inf")
    (cue,) = cues_of(spoken("well then", 0, 9), max_duration=no_limit, max_chars_per_second=no_limit, min_duration=0)
    assert (cue.start, cue.end) == (0, 18_000)


WORDS = st.lists(st.sampled_from("abcdefgh語音한. ,"), min_size=1, max_size=12).map("".join)
RULES = st.builds(
    SubtitleRules,
    max_line_length=st.integers(2, 42),
    max_lines=st.integers(1, 3),
    max_duration=st.floats(0.5, 7),
    min_duration=st.floats(0, 2),
    min_gap=st.floats(0, 0.5),
    pause_seconds=st.floats(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, st.floats(0, 3), st.floats(0, 3)), max_size=30), st.booleans(), RULES)
def test_the_rules_hold_for_any_speech(
    speech: list[tuple[str, float, float]], has_times: bool, rules: SubtitleRules
) -> None:
    reached = 0.0
    words = []
    for word, silence, seconds in speech:
        words.append(Word(reached + silence, reached + silence + seconds, word))
        reached = words[-1].end
    text = " ".join(word.text for word in words)
    cues = lay_out_cues(
        Transcript((Segment(0.0, reached, text, tuple(words) if has_times else ()),)), reached + 1, rules
    )
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == text.replace(" ", "")
    assert all(0 < len(cue.lines) <= rules.max_lines for cue in cues)
    assert all(0 < display_width(line) <= rules.max_line_length for cue in cues for line in cue.lines)
    assert all(0 < cue.end - cue.start <= 1000 * rules.max_duration for cue in cues)
    assert all(one.end <= other.start for one, other in itertools.pairwise(cues))
    assert all(cue.start >= 0 and cue.end <= 1000 * (reached + 1) for cue in cues)
