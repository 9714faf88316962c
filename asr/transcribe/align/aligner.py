"""Places a known text in its recording, and names what of it was not spoken.

All lines are aligned at once, with wildcards before, between and after them that take up what is in no line. The best
path may leave lines out for a price per token, so a line was not spoken if the audio is explained that much better
without it. What the model merely misrecognises stays in, because without the line nothing would explain the sound.
Words of the lines that are left are put to the same test one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.alignment.confidence import confidence_measure, text_confidence, token_confidences
from asr.alignment.forced import align_scored, wildcard
from asr.alignment.long import LogProbs, Wildcards, align_long
from asr.alignment.timing import word_times
from asr.audio.io import read_blocks
from asr.bundle.bundle import Bundle
from asr.decoding.base import ctc_of
from asr.errors import ConfigError
from asr.lengths import ctc_min_frames
from asr.transcribe.align.encoding import EncodedRecording, StoredLogProbs, block_samples, encode_recording
from asr.transcribe.align.script import ANYTHING, Layout, ScriptLine, ScriptWord, ctc_tokenizer, lay_out
from asr.types import Segment, Transcript, Word

# Gains in log-probability per token above which text counts as not spoken. On AN4's dev set, utterances joined by
# fives: 155 of 156 foreign lines put between them are found, and 2 of 390 spoken lines are rejected; of the spoken
# words 1.3 % are, and of 47 words put in the place of others 46 are found.
LINE_GAIN = 2.5
WORD_GAIN = 3.0
# In 40 minutes of dev utterances, 20 of them of other speech in the middle, 100 lines missing from the text and 100
# foreign ones in it, the foreign ones take the places of others for a price of LINE_GAIN: somewhere in the other speech
# there is something like each. With this price all are left out. Where little lies between the lines that were found,
# so that little can be mistaken, LINE_GAIN decides again.
SEARCH_GAIN = 1.5
SECOND_LOOK_SECONDS = 30.0
MIN_SPOKEN = 0.25  # of the tokens; of sonnets, by a model of spelled names and numbers, it is 0.00 to 0.15
FORCING_GAIN = 1e4
PRICELESS = 1e5  # price of a line without a token that differs from a wildcard: it is never left out
PAUSE = 2.0  # price of silence in speech that is in no line; without, a line moved into it would save that
CERTAIN = -1.0  # mean log-posterior of tokens above which words are not put to the test
REACH_SECONDS = 10.0  # of speech in no line, next to a line whose words are put to the test
MIN_UNWRITTEN = 0.3  # seconds of speech in no line that keep words off
WILDCARD = ScriptWord("", (ANYTHING,))


@dataclass(frozen=True)
class Unspoken:
    """Text that the recording does not hold."""

    line: int  # number in the file
    text: str
    whole: bool  # all of the line, or some words of it


@dataclass(frozen=True)
class Alignment:
    """A segment for every line; one that was not spoken has what is left between the others, and confidence 0.

    Where hardly any line seems to be spoken, the model may not recognise such speech; each stands where it fits best.
    """

    transcript: Transcript
    unspoken: tuple[Unspoken, ...]


@dataclass(frozen=True)
class _Placed:
    """A line and where it stands."""

    line: ScriptLine
    layout: Layout  # of this line alone: between two wildcards
    spans: np.ndarray  # (U, 2) frames of the recording that its tokens stand for
    is_spoken: bool = True

    @property
    def words(self) -> tuple[tuple[int, int], ...]:
        """First and one past the last token of each word."""
        return self.layout.words[0]


class Aligner:
    """Aligns texts with recordings of any length by a model's CTC output; ConfigError if it has none."""

    def __init__(self, bundle: Bundle, *, confidence: str = "posterior") -> None:
        if ctc_of(bundle.model.heads) is None:
            raise ConfigError("alignment needs a model with a CTC head; this one has none")
        self.bundle = bundle
        self._measure = confidence_measure(confidence)
        tokenizer = ctc_tokenizer(bundle)
        vocabulary = tokenizer.vocabulary
        assert vocabulary.blank is not None, "a CTC head has a blank"
        self._blank, self._wildcard = vocabulary.blank, wildcard(vocabulary)
        self._separator = tokenizer.separator
        self._frame_seconds = bundle.frame_seconds

    def align(self, audio: Path, lines: Sequence[ScriptLine]) -> Alignment:
        """Times of all words; AudioError for audio that cannot be read."""
        rate = self.bundle.frontend.sample_rate
        return self._align(read_blocks(audio, rate, block_samples(rate) / rate), lines)

    def align_waveform(self, waveform: np.ndarray, lines: Sequence[ScriptLine]) -> Alignment:
        """The same for samples (N,) at the model's rate."""
        size = block_samples(self.bundle.frontend.sample_rate)
        blocks = (waveform[start : start + size] for start in range(0, len(waveform), size))
        return self._align(blocks, lines)

    def _align(self, blocks: Iterable[np.ndarray], lines: Sequence[ScriptLine]) -> Alignment:
        with StoredLogProbs() as log_probs:
            recording = encode_recording(self.bundle, blocks, log_probs)
            placed = self._place(recording, lines)
            spoken = {one.line for one in placed if one.is_spoken}
            unspoken = [Unspoken(line.number, line.text, True) for line in lines if line not in spoken]
            for one in placed:
                if one.is_spoken and (missing := self._unspoken_words(recording.log_probs, one)):
                    text = " ".join(word.text for word in missing)
                    unspoken.append(Unspoken(one.line.number, text, len(missing) == len(one.line.words)))
            segments = with_unspoken(lines, self._timed(recording, placed), recording.duration)
        return Alignment(Transcript(segments), tuple(sorted(unspoken, key=lambda one: one.line)))

    def _place(self, recording: EncodedRecording, lines: Sequence[ScriptLine]) -> list[_Placed]:
        """The lines that were spoken, and where; all lines where hardly any seems to be, unless they cannot all be."""
        placed = {one.line: one for one in self._search(recording.log_probs, lines, SEARCH_GAIN)}
        groups = itertools.groupby(range(len(lines)), key=lambda index: lines[index] in placed)
        for run in [list(group) for was_found, group in groups if not was_found]:
            placed |= self._search_again(recording.log_probs, lines[max(0, run[0] - 1) : run[-1] + 2], placed)
        found = [placed[line] for line in lines if line in placed]
        for one, other in itertools.pairwise(found):  # one of them may have moved
            gap = max(one.spans[-1][0], other.spans[0][0]), min(one.spans[-1][1], other.spans[0][1])
            one.spans[-1] = other.spans[0] = gap
        spoken = {one.line for one in found}
        too_many = len(recording.log_probs) < ctc_min_frames(self._lay_out(lines).tokens)
        if too_many or sum(map(self._num_tokens, spoken)) >= MIN_SPOKEN * sum(map(self._num_tokens, lines)):
            return found
        forced = self._search(recording.log_probs, lines, FORCING_GAIN)
        return [replace(one, is_spoken=one.line in spoken) for one in forced]

    def _search_again(
        self, log_probs: LogProbs, lines: Sequence[ScriptLine], placed: Mapping[ScriptLine, _Placed]
    ) -> dict[ScriptLine, _Placed]:
        """Lines left out, by the milder test of LINE_GAIN, with the two around them, which may have taken their place.

        Nothing where too much is between these two for that.
        """
        before, after = placed.get(lines[0]), placed.get(lines[-1])
        first = before.spans[-2][1] if before else 0
        last = after.spans[1][0] if after else len(log_probs)
        if (last - first) * self._frame_seconds > SECOND_LOOK_SECONDS:
            return {}
        first = self._stretch(before)[0] if before else 0
        last = self._stretch(after)[1] if after else len(log_probs)
        found = self._search(log_probs[first:last], lines, LINE_GAIN)
        if {one.line for one in (before, after) if one} - {one.line for one in found}:
            return {}
        for one in found:
            one.spans[:] += first
        if before:
            found[0].spans[0][0] = before.spans[0][0]
        if after:
            found[-1].spans[-1][1] = after.spans[-1][1]
        return {one.line: one for one in found}

    def _stretch(self, placed: _Placed) -> tuple[int, int]:
        """First and one past the last frame of a line and the wildcards around it, up to REACH_SECONDS of each."""
        reach, spans = round(REACH_SECONDS / self._frame_seconds), placed.spans
        return int(max(spans[0][0], spans[1][0] - reach)), int(min(spans[-1][1], spans[-2][1] + reach))

    def _search(self, log_probs: LogProbs, lines: Sequence[ScriptLine], gain: float) -> list[_Placed]:
        """The lines without which the audio is not explained better by `gain` per token, and where they are."""
        layout = self._lay_out(lines)
        prices = [gain * self._num_tokens(line) if line.num_known else PRICELESS for line in lines]
        spans, score = align_long(
            log_probs, layout.tokens, Wildcards(layout.wildcards, prices, PAUSE), blank=self._blank
        )
        if not np.isfinite(score):
            return []
        kept = [index for index, place in enumerate(layout.wildcards[:-1]) if spans[place + 1, 1]]
        gaps = [  # between the lines kept, those left out pass into one wildcard
            _union(spans[list(layout.wildcards[before + 1 : after + 1])])
            for before, after in itertools.pairwise([-1, *kept, len(lines)])
        ]
        placed = []
        for index, around in zip(kept, itertools.pairwise(gaps), strict=True):
            inside = spans[layout.wildcards[index] + 1 : layout.wildcards[index + 1]]
            alone = self._lay_out([lines[index]])
            placed.append(_Placed(lines[index], alone, np.stack([around[0], *inside, around[1]])))
        return placed

    def _lay_out(self, lines: Sequence[ScriptLine]) -> Layout:
        return lay_out(lines, self._separator, self._wildcard)

    def _num_tokens(self, line: ScriptLine) -> int:
        """Tokens that take sound: wildcards always find some."""
        return line.num_known + (len(line.words) - 1) * len(self._separator)

    def _unspoken_words(self, log_probs: LogProbs, placed: _Placed) -> list[ScriptWord]:
        """Words of a spoken line without which, or with a wildcard in place of which, its stretch is explained better.

        The wildcards around the line belong to the stretch, but for what is further away than REACH_SECONDS.
        """
        line, spans = placed.line, placed.spans
        first, last = self._stretch(placed)
        window = torch.from_numpy(log_probs[first:last])
        score = self._score(window, line)
        missing = []
        for place, (word, (start, stop)) in enumerate(zip(line.words, placed.words, strict=True)):
            if len(line.words) == 1 or not word.num_known:
                continue
            if self._mean_posterior(window, placed.layout.tokens[start:stop], spans[start:stop] - first) >= CERTAIN:
                continue
            before, after = line.words[:place], line.words[place + 1 :]
            variants = (before + after, (*before, WILDCARD, *after))
            best = max(self._score(window, ScriptLine(line.number, variant)) for variant in variants)
            if best - score > WORD_GAIN * (word.num_known + len(self._separator)):
                missing.append(word)
        return missing

    def _score(self, log_probs: Tensor, line: ScriptLine) -> float:
        return align_scored(log_probs, self._lay_out([line]).tokens, self._blank)[1]

    def _mean_posterior(self, log_probs: Tensor, tokens: Sequence[int], spans: np.ndarray) -> float:
        """Mean log-posterior of the known ones of the tokens, each in the best of its frames (U, 2); 0 without any."""
        best = [
            float(log_probs[first:last, token].max())
            for token, (first, last) in zip(tokens, spans, strict=True)
            if token != self._wildcard
        ]
        return sum(best) / len(best) if best else 0.0

    def _timed(self, recording: EncodedRecording, placed: Sequence[_Placed]) -> dict[ScriptLine, Segment]:
        """The lines with times; speech that is in no line bounds the words next to it."""
        spikes: list[tuple[float, float]] = []
        words: list[list[int]] = []  # places in `spikes`
        for one in placed:
            self._add_unwritten(spikes, one.spans[0])
            words.append(list(range(len(spikes), len(spikes) + len(one.words))))
            spikes += [self._seconds(one.spans[start][0], one.spans[stop - 1][1]) for start, stop in one.words]
        if placed:
            self._add_unwritten(spikes, placed[-1].spans[-1])
        times = word_times(spikes, recording.loudness, recording.duration)
        return {
            one.line: _segment(
                one.line, [times[place] for place in places], self._confidences(recording.log_probs, one)
            )
            for one, places in zip(placed, words, strict=True)
        }

    def _add_unwritten(self, spikes: list[tuple[float, float]], gap: np.ndarray) -> None:
        first, last = self._seconds(*gap)
        if last - first >= MIN_UNWRITTEN:
            spikes.append((first, last))

    def _seconds(self, first: int, last: int) -> tuple[float, float]:
        return float(first * self._frame_seconds), float(last * self._frame_seconds)

    def _confidences(self, log_probs: LogProbs, placed: _Placed) -> list[float]:
        """Of the words of a line."""
        first, last = placed.spans[1][0], placed.spans[-2][1]
        window = torch.from_numpy(log_probs[first:last])
        tokens = token_confidences(window, placed.layout.tokens[1:-1], placed.spans[1:-1] - first, self._measure)
        return [float(tokens[start - 1 : stop - 1].min()) for start, stop in placed.words]


def by_words(transcript: Transcript) -> Transcript:
    """The same with a segment for every word."""
    return Transcript(
        tuple(
            Segment(word.start, word.end, word.text, (word,), word.confidence)
            for segment in transcript.segments
            for word in segment.words
        )
    )


def _union(spans: np.ndarray) -> np.ndarray:
    """First and one past the last of the frames (2,) of all spans (N, 2) that have any; one at least has."""
    passed = spans[spans[:, 1] > 0]
    return np.array([passed[:, 0].min(), passed[:, 1].max()])


def _segment(line: ScriptLine, times: Sequence[tuple[float, float]], confidences: Sequence[float]) -> Segment:
    words = tuple(
        Word(start, end, word.text, confidence)
        for word, (start, end), confidence in zip(line.words, times, confidences, strict=True)
    )
    return Segment(words[0].start, words[-1].end, line.text, words, text_confidence(confidences))


def with_unspoken(
    lines: Sequence[ScriptLine], timed: dict[ScriptLine, Segment], duration: float
) -> tuple[Segment, ...]:
    """Segments for all lines: those that were not spoken share what is between their neighbours, or the `duration`."""
    segments: list[Segment] = []
    reached = 0.0
    for is_spoken, group in itertools.groupby(enumerate(lines), key=lambda item: item[1] in timed):
        places = list(group)
        if is_spoken:
            segments += [timed[line] for _, line in places]
            reached = segments[-1].end
            continue
        following = places[-1][0] + 1
        until = timed[lines[following]].start if following < len(lines) else duration
        num_words = sum(len(line.words) for _, line in places)
        edges = iter(itertools.pairwise(np.linspace(reached, until, num_words + 1).tolist()))
        segments += [
            _segment(line, list(itertools.islice(edges, len(line.words))), [0.0] * len(line.words))
            for _, line in places
        ]
    return tuple(segments)
