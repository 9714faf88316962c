"""Places a known text in its recording, and tells what of it was not spoken.

All lines are aligned at once, with wildcards before, between and after them that take up what is in no line. A line
was not spoken if the audio is explained much better without it: the log-probability of the best path, per token, is
compared. What the model merely mishears passes this test, because without the line nothing would explain the sound.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.audio.io import audio_info, load_audio
from asr.bundle import Bundle
from asr.decoding.align import align_scored, with_wildcard
from asr.decoding.confidence import confidence_measure, text_confidence, token_confidences
from asr.decoding.timing import loudness, word_times
from asr.errors import AudioError, ConfigError, TextError
from asr.text.vocabulary import UNK
from asr.transcribe.script import Layout, ScriptLine, ScriptWord, lay_out
from asr.types import Segment, Transcript, Word

MAX_SECONDS = 120.0  # heard in one pass
# Gains in log-probability per token above which text counts as not spoken. On AN4's dev set, utterances joined by
# fives: all of 208 foreign lines and words put between them are found, and no spoken line is blamed; of the spoken
# words 1.3 % are, and of 47 words put in the place of others 46 are found.
LINE_GAIN = 2.5
WORD_GAIN = 3.0
WILDCARD = ScriptWord("", (UNK,))
CERTAIN = -1.0  # mean log-posterior of tokens above which text is not put to the test
MIN_UNWRITTEN = 0.3  # seconds of speech in no line that keep words off


@dataclass(frozen=True)
class Unspoken:
    """Text that the recording does not hold."""

    line: int  # number in the file
    text: str
    whole: bool  # all of the line, or some words of it


@dataclass(frozen=True)
class Alignment:
    """A segment for every line; one that was not spoken has what is left between the others, and confidence 0."""

    transcript: Transcript
    unspoken: tuple[Unspoken, ...]


class Aligner:
    """Aligns texts with recordings of up to MAX_SECONDS by a model's CTC output; ConfigError if it has none."""

    def __init__(self, bundle: Bundle, *, device: torch.device, confidence: str = "posterior") -> None:
        if bundle.model.ctc_head is None:
            raise ConfigError("alignment needs a model with a CTC head; this one has none")
        self.bundle = bundle
        self.device = device
        self._measure = confidence_measure(confidence)
        self._separator = bundle.tokenizer.separator
        self._frame_seconds = bundle.model.subsampling_factor * bundle.frontend.frame_shift

    def align(self, audio: Path, lines: Sequence[ScriptLine]) -> Alignment:
        """Times of all words.

        AudioError for audio that cannot be read or is too long, TextError for a text that cannot be spoken so fast.
        """
        if (duration := audio_info(audio).duration) > MAX_SECONDS:
            raise AudioError(f"{audio}: {duration:.0f} s, but at most {MAX_SECONDS:.0f} s can be aligned; cut it first")
        return self.align_waveform(load_audio(audio, self.bundle.frontend.sample_rate), lines, str(audio))

    def align_waveform(self, waveform: np.ndarray, lines: Sequence[ScriptLine], name: str = "waveform") -> Alignment:
        """The same for samples (N,) at the model's rate; `name` stands in errors."""
        duration = len(waveform) / self.bundle.frontend.sample_rate
        log_probs = self._log_probs(waveform)
        if not np.isfinite(self._score(log_probs, lines)):
            raise TextError(f"{name}: {duration:.1f} s are too short for the text; check that they belong together")
        spoken = self._spoken(log_probs, lines)
        unspoken = [Unspoken(line.number, line.text, True) for line in lines if line not in spoken]
        layout = lay_out(spoken, self._separator)
        spans, _ = align_scored(log_probs, layout.tokens)
        for line, words in zip(spoken, layout.words, strict=True):
            missing = self._unspoken_words(log_probs, spans, line, words)
            if missing:
                text = " ".join(word.text for word in missing)
                unspoken.append(Unspoken(line.number, text, len(missing) == len(line.words)))
        timed = dict(zip(spoken, self._timed(log_probs, spans, layout, spoken, waveform), strict=True))
        segments = _with_unspoken(lines, timed, duration)
        return Alignment(Transcript(segments), tuple(sorted(unspoken, key=lambda one: one.line)))

    @torch.inference_mode()
    def _log_probs(self, waveform: np.ndarray) -> Tensor:
        """(S, V) on the CPU, with wildcard."""
        samples = torch.from_numpy(waveform)[None].to(self.device)
        features, lens = self.bundle.frontend(samples, torch.tensor([len(waveform)], device=self.device))
        model = self.bundle.model
        return with_wildcard(model.ctc_log_probs(model.encode(features, lens))[0].cpu())

    def _score(self, log_probs: Tensor, lines: Sequence[ScriptLine]) -> float:
        return align_scored(log_probs, lay_out(lines, self._separator).tokens)[1]

    def _spoken(self, log_probs: Tensor, lines: Sequence[ScriptLine]) -> list[ScriptLine]:
        """The lines without those that were not spoken, the surest of these first.

        A line left out because a foreign one beside it had displaced it is taken back in the end.
        """
        kept = list(lines)
        while kept:
            gains = self._gains_without(log_probs, kept)
            worst = max(range(len(kept)), key=gains.__getitem__)
            if gains[worst] < LINE_GAIN:
                break
            del kept[worst]
        for line in lines:
            if line not in kept:
                restored = [one for one in lines if one in kept or one is line]
                gain = self._score(log_probs, kept) - self._score(log_probs, restored)
                kept = restored if gain < LINE_GAIN * self._num_tokens(line) else kept
        return kept

    def _gains_without(self, log_probs: Tensor, lines: list[ScriptLine]) -> list[float]:
        """What the score gains per token if a line is left out; not worked out, -inf, where half of a line is heard."""
        layout = lay_out(lines, self._separator)
        spans, score = align_scored(log_probs, layout.tokens)
        gains = [-np.inf] * len(lines)
        for place, (line, words) in enumerate(zip(lines, layout.words, strict=True)):
            heard = sum(_mean_posterior(log_probs, layout.tokens, spans, *word) >= CERTAIN for word in words)
            if line.num_known and 2 * heard < len(words):
                others = lines[:place] + lines[place + 1 :]
                others = others or [ScriptLine(line.number, (WILDCARD,)) for _ in line.words]
                gains[place] = (self._score(log_probs, others) - score) / self._num_tokens(line)
        return gains

    def _num_tokens(self, line: ScriptLine) -> int:
        """Tokens that have to be heard: wildcards always are."""
        return line.num_known + (len(line.words) - 1) * len(self._separator)

    def _unspoken_words(
        self, log_probs: Tensor, spans: np.ndarray, line: ScriptLine, words: Sequence[tuple[int, int]]
    ) -> list[ScriptWord]:
        """Words of a spoken line without which, or with a wildcard in place of which, its stretch is explained better.

        `spans` are those of the tokens of all lines, `words` the places of this line's.
        """
        first, last = spans[words[0][0] - 1][0], spans[words[-1][1]][1]  # with the wildcards around
        window = log_probs[first:last]
        score = self._score(window, [line])
        tokens = lay_out([line], self._separator).tokens
        offset = words[0][0] - 1
        missing = []
        for place, (word, (start, stop)) in enumerate(zip(line.words, words, strict=True)):
            local = spans[offset : offset + len(tokens)] - first
            if len(line.words) == 1 or not word.num_known:
                continue
            if _mean_posterior(window, tokens, local, start - offset, stop - offset) >= CERTAIN:
                continue
            before, after = line.words[:place], line.words[place + 1 :]
            variants = (before + after, (*before, WILDCARD, *after))
            best = max(self._score(window, [ScriptLine(line.number, variant)]) for variant in variants)
            if best - score > WORD_GAIN * (word.num_known + len(self._separator)):
                missing.append(word)
        return missing

    def _timed(
        self, log_probs: Tensor, spans: np.ndarray, layout: Layout, lines: Sequence[ScriptLine], waveform: np.ndarray
    ) -> list[Segment]:
        """The lines with times; what is spoken but not written keeps off the words beside it."""
        sure = token_confidences(log_probs, layout.tokens, spans, self._measure)
        words = list(itertools.chain(*layout.words))
        wide = [(place, place + 1) for place in layout.wildcards if self._seconds(spans[place]) >= MIN_UNWRITTEN]
        inside = sorted(words + wide)
        spikes = [
            (float(spans[start][0] * self._frame_seconds), float(spans[stop - 1][1] * self._frame_seconds))
            for start, stop in inside
        ]
        rate = self.bundle.frontend.sample_rate
        times = dict(zip(inside, word_times(spikes, loudness(waveform, rate), len(waveform) / rate), strict=True))
        return [
            _segment(line, [times[place] for place in places], [float(sure[slice(*place)].min()) for place in places])
            for line, places in zip(lines, layout.words, strict=True)
        ]

    def _seconds(self, span: np.ndarray) -> float:
        return float(span[1] - span[0]) * self._frame_seconds


def by_words(transcript: Transcript) -> Transcript:
    """The same with a segment for every word."""
    return Transcript(
        tuple(
            Segment(word.start, word.end, word.text, (word,), word.confidence)
            for segment in transcript.segments
            for word in segment.words
        )
    )


def _mean_posterior(log_probs: Tensor, tokens: Sequence[int], spans: np.ndarray, start: int, stop: int) -> float:
    """Mean log-posterior of known tokens `start` to `stop`, each in its best frame; 0 without any."""
    best = [
        float(log_probs[spans[place][0] : spans[place][1], tokens[place]].max())
        for place in range(start, stop)
        if tokens[place] != UNK
    ]
    return sum(best) / len(best) if best else 0.0


def _segment(line: ScriptLine, times: Sequence[tuple[float, float]], confidences: Sequence[float]) -> Segment:
    words = tuple(
        Word(start, end, word.text, confidence)
        for word, (start, end), confidence in zip(line.words, times, confidences, strict=True)
    )
    return Segment(words[0].start, words[-1].end, line.text, words, text_confidence(confidences))


def _with_unspoken(
    lines: Sequence[ScriptLine], timed: dict[ScriptLine, Segment], duration: float
) -> tuple[Segment, ...]:
    """Segments for all lines: those that were not spoken share what is between their neighbours."""
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
