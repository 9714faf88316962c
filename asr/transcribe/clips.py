"""Utterances of a manifest for models that hear windows of a fixed length: as audio, longer ones in several clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.guard import Clips
from asr.bundle.recognition import Decoded, clips_of, encode_waveforms
from asr.bundle.words import PlacedWords
from asr.text.tokenizer import WordSpan
from asr.transcribe.long_form import split_windows
from asr.types import EncoderOutput, Hypothesis, Utterance


@dataclass(frozen=True)
class Clip:
    """All of an utterance, or a part that fits into a window."""

    utterance: Utterance
    start: float  # seconds into the utterance
    waveform: np.ndarray  # (num_samples,) float32

    @property
    def place(self) -> str:
        """What random draws about it depend on."""
        return f"{self.utterance.id} {self.start:.3f}"


def clip_batches(bundle: Bundle, utterances: Sequence[Utterance], max_batch_seconds: float) -> Iterator[list[Clip]]:
    """Clips of like lengths, an utterance in one batch; longest clip times number is at most `max_batch_seconds`.

    Silence that the front-end adds counts. Utterances longer than a window are cut where they are quietest. AudioError
    names one that cannot be read.
    """
    batch: list[Clip] = []
    for utterance in sorted(utterances, key=lambda utterance: -utterance.duration):
        clips = clips_of_utterance(bundle, utterance)
        seconds = max((_encoded_seconds(bundle, clip) for clip in (*batch, *clips)), default=0.0)
        if batch and seconds * (len(batch) + len(clips)) > max_batch_seconds:
            yield batch
            batch = []
        batch += clips
    if batch:
        yield batch


def clips_of_utterance(bundle: Bundle, utterance: Utterance) -> list[Clip]:
    """One clip, or several of at most a window each."""
    rate, window = bundle.frontend.sample_rate, bundle.frontend.window_seconds
    waveform = load_audio(utterance.audio, rate, start=utterance.start, duration=utterance.duration)
    if window is None or len(waveform) <= round(window * rate):
        return [Clip(utterance, 0.0, waveform)]
    return [Clip(utterance, each.start, each.waveform) for each in split_windows([waveform], rate, window)]


def encoded_clips(bundle: Bundle, clips: Sequence[Clip]) -> tuple[EncoderOutput, Clips | None]:
    """What the encoder makes of clips, and what decoding has to know of them."""
    waveforms = [clip.waveform for clip in clips]
    return encode_waveforms(bundle, waveforms), clips_of(bundle, waveforms)


def joined(parts: Sequence[Decoded], starts: Sequence[int]) -> Decoded:
    """What the clips of an utterance say, each beginning at an encoder frame; of several the best texts alone."""
    if len(parts) == 1:
        return parts[0]
    tokens: tuple[int, ...] = ()
    words: list[WordSpan] = []
    segments = []
    frames: list[np.ndarray] | None = []
    for part, start in zip(parts, starts, strict=True):
        best, shift = part.n_best[0], len(tokens)
        words += [replace_span(word, shift) for word in part.placed.words]
        segments += [
            replace(one, first=one.first + shift, stop=one.stop + shift, start=one.start + start, end=one.end + start)
            for one in best.segments
        ]
        own = part.placed.token_frames
        frames = (
            None
            if frames is None or (own is None and best.tokens)
            else [*frames, *([] if own is None else [own + start])]
        )
        tokens += best.tokens
    confidences = [part.placed.confidences for part in parts]
    known = [value for own in confidences if own is not None for value in own]
    placed = PlacedWords(
        tuple(words),
        tuple(known) if all(own is not None for own in confidences) else None,
        np.concatenate(frames) if frames else None,
        parts[0].placed.between,
        parts[0].placed.touching,
    )
    first = parts[0].n_best[0]
    score = sum(part.n_best[0].score for part in parts)
    whole = Hypothesis(tokens, score, {"clips": score}, language=first.language, segments=tuple(segments))
    return Decoded([whole], placed)


def replace_span(word: WordSpan, shift: int) -> WordSpan:
    """A word of tokens that stand further back."""
    return word._replace(start=word.start + shift, stop=word.stop + shift)


def _encoded_seconds(bundle: Bundle, clip: Clip) -> float:
    return bundle.encoder_frames(len(clip.waveform)) * bundle.frame_seconds
