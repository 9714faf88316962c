"""Places a known text in its recording by a model that has no CTC head, but a decoder whose attention tells times.

Such a model reads a text against a stretch of speech it is given with it; which stretch that is, it cannot tell. So the
recording is transcribed first, and the words of the text are matched with those that were recognised, as for a word
error rate. Each span of speech is then read with its own words of the text. What matches nothing was not spoken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Indel, Levenshtein

from asr.alignment.confidence import posterior, text_confidence
from asr.audio.io import read_blocks
from asr.bundle.bundle import Bundle
from asr.bundle.decode import choose_decoding
from asr.bundle.recognition import DecodeOptions, encode_waveforms
from asr.bundle.words import TokenPlaces, place_words
from asr.decoding.base import decoder_of
from asr.errors import ConfigError
from asr.text.normalize import APOSTROPHES, normalize
from asr.transcribe.align.aligner import Alignment, Unspoken, with_unspoken
from asr.transcribe.align.script import ScriptLine, ScriptWord, text_of
from asr.transcribe.segmentation import DEFAULT_SEGMENTATION, Segmenter, Span
from asr.types import Segment, Transcript, Word

BLOCK_SECONDS = 10.0
BATCH_SECONDS = 60.0  # longest span times number of spans
MIN_SIMILARITY = 0.4  # of a line to what was recognised in its place, from 0 to 1; below it was not spoken
MIN_WORD_CONFIDENCE = 0.05  # of a word that matches nothing; below it was not spoken


@dataclass(frozen=True)
class _Recognized:
    """A recognised word."""

    key: str  # as it is compared
    span: int  # in which it was heard


class DecoderAligner:
    """As `asr.transcribe.align.aligner.Aligner`; ConfigError for a model whose decoder cannot place what it reads.

    `language` is a code; None is the model's own, or what it finds in the recording where it can tell.
    """

    def __init__(self, bundle: Bundle, folder: Path | str | None = None, language: str | None = None) -> None:
        self._decoder = decoder_of(bundle.model.heads)
        if not hasattr(self._decoder, "place"):
            raise ConfigError("alignment needs a model with a CTC head, or one of Whisper's family; this is neither")
        self.bundle = bundle
        self._searcher = choose_decoding(bundle, folder).build(bundle, None)
        self._segmenter = Segmenter(DEFAULT_SEGMENTATION, bundle.frontend.sample_rate)
        self._language = language
        self._prompt(language)  # names an unknown one before any work

    def align(self, audio: Path, lines: Sequence[ScriptLine]) -> Alignment:
        """Times of all words; AudioError for audio that cannot be read."""
        return self._align(read_blocks(audio, self.bundle.frontend.sample_rate, BLOCK_SECONDS), lines)

    def align_waveform(self, waveform: np.ndarray, lines: Sequence[ScriptLine]) -> Alignment:
        """The same for samples (N,) at the model's rate."""
        return self._align([waveform], lines)

    def _align(self, blocks: Iterable[np.ndarray], lines: Sequence[ScriptLine]) -> Alignment:
        num_samples = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal num_samples
            for block in blocks:
                num_samples += len(block)
                yield block

        spans = [replace(span, continues=False) for span in self._segmenter.spans(counted())]
        language = self._language or self._found_language(spans)
        script, owners, similarity = self._matched(lines, self._recognized(spans, language))
        placed = self._read(spans, script, owners, language)
        segments, unspoken = {}, []
        places = iter(range(len(script)))
        for line in lines:
            own = list(itertools.islice(places, len(line.words)))
            like = [similarity[place] for place in own]
            words = [placed[place] for place in own if placed[place] is not None]
            if not words or sum(like) < MIN_SIMILARITY * len(like):
                unspoken.append(Unspoken(line.number, line.text, True))
                continue
            timed = _filled([placed[place] for place in own], line)
            segments[line] = _segment(line, timed)
            missing = [
                word.text
                for word, one in zip(timed, like, strict=True)
                if not one and (word.confidence or 0.0) < MIN_WORD_CONFIDENCE
            ]
            if missing:
                unspoken.append(Unspoken(line.number, " ".join(missing), False))
        duration = num_samples / self.bundle.frontend.sample_rate
        ordered = _in_order(lines, segments)
        return Alignment(Transcript(with_unspoken(lines, ordered, duration)), tuple(unspoken))

    def _prompt(self, language: str | None) -> tuple[int, ...] | None:
        build = getattr(self._decoder, "build_prompt", None)
        return None if language is None or build is None else tuple(build(language))

    def _found_language(self, spans: Sequence[Span]) -> str | None:
        """The likeliest over the first spans; None of a model of one language."""
        languages = getattr(self._decoder, "languages", None)
        if not languages or not spans:
            return None
        first = next(_batches(spans))
        encoded = encode_waveforms(self.bundle, [span.waveform for span in first])
        with self.bundle.backend.running():
            likely = self._decoder.detect_language(encoded)  # type: ignore[union-attr]
        codes: list[str] = list(languages)
        return codes[int(likely.double().log().sum(0).argmax())]

    def _recognized(self, spans: Sequence[Span], language: str | None) -> list[_Recognized]:
        """What the model hears, word by word."""
        options = DecodeOptions(self._searcher, self._prompt(language))
        words: list[_Recognized] = []
        reached = 0
        for batch in _batches(spans):
            decoded = self.bundle.decode([span.waveform for span in batch], [options] * len(batch))
            for number, one in enumerate(decoded, start=reached):
                words += [_Recognized(_key(word.text), number) for word in one.placed.words]
            reached += len(batch)
        return words

    def _matched(
        self, lines: Sequence[ScriptLine], heard: Sequence[_Recognized]
    ) -> tuple[list[ScriptWord], list[int], list[float]]:
        """The words of the text; the span of each, and how similar it is to what was heard there, 0 for nothing."""
        words = [word for line in lines for word in line.words]
        keys = [_key(word.text) for word in words]
        owners: list[int | None] = [None] * len(keys)
        similarity = [0.0] * len(keys)
        for block in Levenshtein.opcodes(keys, [word.key for word in heard]):
            if block.tag not in ("equal", "replace"):
                continue
            for place, other in zip(
                range(block.src_start, block.src_end), range(block.dest_start, block.dest_end), strict=False
            ):
                similarity[place] = Indel.normalized_similarity(keys[place], heard[other].key)
                owners[place] = heard[other].span
        return words, _with_neighbours(owners), similarity

    def _read(
        self, spans: Sequence[Span], script: Sequence[ScriptWord], owners: Sequence[int], language: str | None
    ) -> list[Word | None]:
        """The words of the text in seconds of the recording; None where there is no speech at all."""
        placed: list[Word | None] = [None] * len(script)
        own = [[place for place, owner in enumerate(owners) if owner == number] for number in range(len(spans))]
        numbers = [number for number in range(len(spans)) if own[number]]
        for batch in _batches([spans[number] for number in numbers]):
            chosen, numbers = numbers[: len(batch)], numbers[len(batch) :]
            found = self._placed(batch, [[script[place] for place in own[number]] for number in chosen], language)
            for number, words in zip(chosen, found, strict=True):
                for place, word in zip(own[number], words, strict=True):
                    placed[place] = word
        return placed

    def _placed(
        self, spans: Sequence[Span], texts: Sequence[Sequence[ScriptWord]], language: str | None
    ) -> list[list[Word]]:
        """The words of one text for each span."""
        bundle, tokenizer = self.bundle, self.bundle.tokenizer
        encoded = encode_waveforms(bundle, [span.waveform for span in spans])
        audio_lens = [int(np.ceil(span.duration / bundle.frame_seconds)) for span in spans]
        tokens = [tokenizer.encode(text_of(words).translate(APOSTROPHES)) for words in texts]
        with bundle.backend.running():
            found = self._decoder.place(encoded, tokens, [language] * len(spans), audio_lens)  # type: ignore[union-attr]
        answers = []
        for span, words, own, (frames, likely) in zip(spans, texts, tokens, found, strict=True):
            placed = place_words(tokenizer, own, TokenPlaces(frames, None, likely, touching=True), posterior)
            timed = placed.timed(span.waveform, span.sample_rate, bundle.frame_seconds)
            answers.append(_regrouped(timed, words, span))
        return answers


def _key(word: str) -> str:
    """A word without case and punctuation; as it is if nothing else is in it."""
    return normalize(word, "basic") or word


def _batches(spans: Sequence[Span]) -> Iterator[list[Span]]:
    batch: list[Span] = []
    for span in spans:
        longest = max([span.duration, *(one.duration for one in batch)])
        if batch and longest * (len(batch) + 1) > BATCH_SECONDS:
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


def _with_neighbours(owners: Sequence[int | None]) -> list[int]:
    """Words that match nothing are in the span of the word before them, the first ones in that of the word after."""
    filled: list[int] = []
    for owner in owners:
        filled.append(owner if owner is not None else filled[-1] if filled else -1)
    first = next((owner for owner in filled if owner >= 0), -1)
    return [first if owner < 0 else owner for owner in filled]


def _regrouped(timed: Sequence[Word], words: Sequence[ScriptWord], span: Span) -> list[Word]:
    """The words of a script with the times of the model's words, which may be parts of them or several of them."""
    letters = [(character, word) for word in timed for character in word.text if not character.isspace()]
    answers = []
    reached = 0
    for script in words:
        size = sum(not character.isspace() for character in script.text)
        own = [word for _, word in letters[reached : reached + size]]
        reached += size
        confidences = [word.confidence for word in dict.fromkeys(own) if word.confidence is not None]
        start, end = (own[0].start, own[-1].end) if own else (span.duration, span.duration)
        answers.append(
            Word(span.start + start, min(span.start + end, span.end), script.text, text_confidence(confidences) or 0.0)
        )
    return answers


def _filled(words: Sequence[Word | None], line: ScriptLine) -> list[Word]:
    """All words of a line that was spoken; one without a place of its own stands at the one before or after it."""
    known = [word for word in words if word is not None]
    filled: list[Word] = []
    for word, own in zip(words, line.words, strict=True):
        near = filled[-1].end if filled else known[0].start
        filled.append(word if word is not None else Word(near, near, own.text, 0.0))
    return filled


def _segment(line: ScriptLine, words: Sequence[Word]) -> Segment:
    confidences = [word.confidence or 0.0 for word in words]
    return Segment(words[0].start, words[-1].end, line.text, tuple(words), text_confidence(confidences))


def _in_order(lines: Sequence[ScriptLine], segments: dict[ScriptLine, Segment]) -> dict[ScriptLine, Segment]:
    """The segments with words that do not begin before those before them end."""
    reached = 0.0
    ordered = {}
    for line in lines:
        if line not in segments:
            continue
        words = []
        for word in segments[line].words:
            start = max(word.start, reached)
            words.append(replace(word, start=start, end=max(word.end, start)))
            reached = words[-1].end
        ordered[line] = _segment(line, words)
    return ordered
