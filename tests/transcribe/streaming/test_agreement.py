"""LocalAgreement: what two looks agree on is certain, and sentences that are certain are cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asr.transcribe.recognized import Recognized
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span
from asr.transcribe.streaming.agreement import AgreementDecoder
from asr.transcribe.streaming.decoder import Update
from asr.types import Segment, Word

RATE = 1000
OPTIONS = RequestOptions()


class Script:
    """Hears a word in every second of the stream, by their numbers; the last of a look may be misheard."""

    def __init__(self, *words: str, misheard: bool = True, timed: bool = True) -> None:
        self.words = words
        self.misheard = misheard
        self.timed = timed
        self.spans: list[Span] = []

    def __call__(self, spans: Sequence[Span], options: Sequence[RequestOptions]) -> list[Recognized]:
        self.spans += spans
        return [self._one(span) for span in spans]

    def _one(self, span: Span) -> Recognized:
        first, stop = round(span.start), min(len(self.words), int(span.end + 0.001))
        words = [Word(float(place), place + 1.0, self.words[place]) for place in range(first, stop)]
        if self.misheard and words:
            words[-1] = Word(words[-1].start, words[-1].end, f"{words[-1].text}{len(self.spans)}")
        if not words:
            return Recognized()
        text = " ".join(word.text for word in words)
        return Recognized((Segment(words[0].start, words[-1].end, text, tuple(words) if self.timed else ()),))


def looks(script: Script, num_seconds: int, *, max_seconds: float = 15.0) -> list[Update]:
    """One update a second, then the end."""
    decoder = AgreementDecoder(script, lambda _: None, RATE, max_seconds=max_seconds)
    window = decoder.open(0, OPTIONS)
    updates = []
    for _ in range(num_seconds):
        updates += decoder.advance([window], [np.zeros(RATE, np.float32)], [None])
    return updates + decoder.advance([window], [np.zeros(0, np.float32)], [0.5])


def test_a_word_is_shown_once_two_looks_agree_on_it_and_on_all_before() -> None:
    *updates, last = looks(Script("a", "b", "c", "d"), 4)
    assert [update.shown for update in updates] == [(), (), ("a",), ("a", "b")]
    assert [segment.text for segment in last.segments] == ["a b c d5"]


def test_nothing_is_looked_at_again_before_there_is_something_new() -> None:
    script = Script("a", "b")
    decoder = AgreementDecoder(script, lambda _: None, RATE)
    window = decoder.open(0, OPTIONS)
    updates = [decoder.advance([window], [np.zeros(RATE // 4, np.float32)], [None])[0] for _ in range(8)]
    assert len(script.spans) == 2
    assert [update.shown is None for update in updates] == [True, True, True, False] * 2


def test_a_sentence_that_is_certain_is_final_and_its_audio_is_looked_at_no_more() -> None:
    script = Script("a", "b.", "c", "d", "e.", "f", "g")
    updates = looks(script, 7)
    final = [segment for update in updates for segment in update.segments]
    assert [(segment.start, segment.end, segment.text) for segment in final] == [
        (0.0, 2.0, "a b."),
        (2.0, 5.0, "c d e."),
        (5.0, 7.0, "f g8"),
    ]
    assert [span.first for span in script.spans] == [0, 0, 0, 0, 2000, 2000, 2000, 5000]
    assert updates[3].shown == ()
    assert updates[4].shown == ("c",)


def test_a_long_window_is_cut_where_it_is_certain_also_without_the_end_of_a_sentence() -> None:
    script = Script(*"abcdefgh")
    updates = looks(script, 8, max_seconds=3.0)
    assert [segment.text for update in updates for segment in update.segments] == ["a b", "c d", "e f", "g h9"]
    assert max(span.duration for span in script.spans) <= 4.0


def test_a_long_window_is_cut_in_its_longest_pause() -> None:
    class Pausing(Script):
        def _one(self, span: Span) -> Recognized:
            (segment,) = super()._one(span).segments
            words = tuple(replace(word, end=word.end - 0.3 * (word.text == "c")) for word in segment.words)
            return Recognized((replace(segment, words=words),))

    final = [segment.text for update in looks(Pausing(*"abcdefgh"), 7, max_seconds=5.0) for segment in update.segments]
    assert final[0] == "a b c"


def test_a_title_or_an_initial_ends_no_sentence() -> None:
    updates = looks(Script("by", "Mr.", "J.", "Burchell", "said", "he.", "So", "I", "left"), 9)
    final = [segment.text for update in updates for segment in update.segments]
    assert final[0] == "by Mr. J. Burchell said he."


def test_without_times_of_words_nothing_is_cut() -> None:
    script = Script("a.", "b.", "c.", "d.", timed=False)
    *updates, last = looks(script, 4, max_seconds=2.0)
    assert not any(update.segments for update in updates)
    assert [segment.text for segment in last.segments] == ["a. b. c. d.5"]


def test_what_was_shown_stays_while_a_look_disagrees_with_it() -> None:
    class Unsure(Script):
        def _one(self, span: Span) -> Recognized:
            text = ["a", "a b", "x", "a b c"][len(self.spans) - 1]
            return Recognized((Segment(0.0, 1.0, text),))

    decoder = AgreementDecoder(Unsure(), lambda _: None, RATE)
    window = decoder.open(0, OPTIONS)
    shown = [decoder.advance([window], [np.zeros(RATE, np.float32)], [None])[0].shown for _ in range(4)]
    assert shown == [(), ("a",), ("a",), ("a",)]


def test_a_model_that_cannot_keep_up_looks_less_often() -> None:
    script = Script("a", "b", "c", "d", "e", misheard=False)
    decoder = AgreementDecoder(script, lambda _: None, RATE)
    window = decoder.open(0, OPTIONS)
    for is_behind in (True, True, False, True, False):
        decoder.advance([window], [np.zeros(RATE, np.float32)], [None], [is_behind])
    assert [span.duration for span in script.spans] == [3.0, 5.0]
    assert window.certain == ("a", "b", "c")
