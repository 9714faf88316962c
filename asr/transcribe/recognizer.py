"""From audio to text: a trained model behind one call.

>>> Recognizer.load("exp/an4").transcribe("a.wav").text
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch

from asr.alignment.confidence import confidence_measure
from asr.audio.io import read_blocks
from asr.audio.resample import resample
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, SearchRequest, choose_decoding
from asr.bundle.recognition import Decoded, DecodeOptions
from asr.errors import AudioError
from asr.system.runtime import resolve_device, resolve_dtype
from asr.transcribe.pipeline import Ended, Heard, Pipeline, Track
from asr.transcribe.segmentation import DEFAULT_SEGMENTATION, SegmentationConfig, Segmenter, Span
from asr.types import Segment, Transcript

BLOCK_SECONDS = 10.0  # read at once


class Recognizer:
    """Transcribes files and arrays of any length, any rate, in bounded memory.

    Speech is found and cut into spans as `segmentation` says; spans are recognised in batches whose longest span times
    size is at most `max_batch_seconds`. In float32 the text is the same whatever the batch size. Words have times and,
    by the measure `confidence` of `asr.alignment.confidence`, confidences; not so with a model without CTC. A segment
    whose confidence is below `min_confidence` is taken for noise.
    """

    def __init__(
        self,
        bundle: Bundle,
        decoding: Decoding,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        segmentation: SegmentationConfig = DEFAULT_SEGMENTATION,
        max_batch_seconds: float = 60.0,
        confidence: str = "posterior",
        min_confidence: float = 0.0,
    ) -> None:
        self.bundle = bundle
        self.device = device
        self.dtype = dtype
        self.max_batch_seconds = max_batch_seconds
        self.segmenter = Segmenter(segmentation, bundle.frontend.sample_rate)
        self.min_confidence = min_confidence
        searcher = decoding.build(bundle, decoding.load_lm(bundle))
        self._options = DecodeOptions(searcher, confidence_measure(confidence), drop_loops=True)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "auto",
        dtype: str = "float32",
        search: str | SearchRequest | None = None,
        *,
        segmentation: SegmentationConfig = DEFAULT_SEGMENTATION,
        max_batch_seconds: float = 60.0,
        confidence: str = "posterior",
        min_confidence: float = 0.0,
    ) -> Self:
        """A recognizer from a model folder.

        `search` names another search than the model's own; a `SearchRequest` changes settings or adds a language model
        and hotwords. Raises BundleError for a folder that is no model or language model, ConfigError for an unknown
        device, dtype, search, setting or measure of confidence.
        """
        request = search if isinstance(search, SearchRequest) else SearchRequest(search)
        where = resolve_device(device)
        bundle = Bundle.load(folder, where)
        return cls(
            bundle,
            choose_decoding(bundle, folder, request),
            device=where,
            dtype=resolve_dtype(dtype),
            segmentation=segmentation,
            max_batch_seconds=max_batch_seconds,
            confidence=confidence,
            min_confidence=min_confidence,
        )

    def transcribe(self, audio: str | Path | np.ndarray, sample_rate: int = 16000) -> Transcript:
        """All segments of a file, or of a waveform (num_samples,) of floats in [-1, 1] at `sample_rate`.

        A file says its rate itself, `sample_rate` is for arrays. Audio without speech or too short for the model, an
        empty array included, gives an empty transcript. Raises AudioError for a file that cannot be read and for an
        array of another shape or type or with samples that are not finite.
        """
        return Transcript(tuple(self.stream_segments(audio, sample_rate)))

    def stream_segments(self, audio: str | Path | np.ndarray, sample_rate: int = 16000) -> Iterator[Segment]:
        """Like `transcribe`, but yields each segment as soon as it is ready; a fault of the file shows when reached."""
        rate = self.sample_rate
        if isinstance(audio, np.ndarray):
            track = Track(0, partial(_blocks, resample(_checked(audio, sample_rate), sample_rate, rate), rate))
        else:
            track = Track(0, partial(read_blocks, audio, rate, BLOCK_SECONDS))
        for event in self.pipeline().run([track]):
            if isinstance(event, Heard):
                yield event.segment
            elif isinstance(event, Ended) and event.error is not None:
                raise event.error

    @property
    def sample_rate(self) -> int:
        """Hz, of the spans it takes."""
        return self.bundle.frontend.sample_rate

    def pipeline(self) -> Pipeline:
        """What recognises many recordings here, in this process."""
        return Pipeline(self.segmenter, self.recognize, max_batch_seconds=self.max_batch_seconds)

    def recognize(self, spans: Sequence[Span]) -> list[Segment | None]:
        """Segments of spans, in one batch; None where nothing was said."""
        waveforms = [span.waveform for span in spans]
        decoded = self.bundle.decode(waveforms, [self._options] * len(spans), self.dtype)
        return [self._segment(span, one) for span, one in zip(spans, decoded, strict=True)]

    def _segment(self, span: Span, decoded: Decoded) -> Segment | None:
        """What was said in a span, in seconds of the recording; None for nothing and for noise."""
        if decoded.placed.confidences is None:
            first, last = (sample / span.sample_rate for sample in span.speech)
            return Segment(first, last, decoded.text) if decoded.text else None
        confidence = decoded.placed.confidence
        if confidence is None or confidence < self.min_confidence:
            return None
        words = tuple(
            replace(word, start=span.start + word.start, end=min(span.start + word.end, span.end))
            for word in decoded.words
        )
        return Segment(words[0].start, words[-1].end, decoded.text, words, confidence)


def _blocks(waveform: np.ndarray, sample_rate: int) -> Iterator[np.ndarray]:
    """An array as a file would arrive."""
    step = round(BLOCK_SECONDS * sample_rate)
    return (waveform[first : first + step] for first in range(0, len(waveform), step))


def _checked(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The waveform as float32; AudioError if it cannot be one."""
    if waveform.ndim != 1:
        raise AudioError(
            f"expected a waveform of shape (num_samples,), got {waveform.shape}; mix the channels down first"
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise AudioError(f"expected float samples in [-1, 1], got {waveform.dtype}; divide int16 samples by 32768")
    if sample_rate <= 0:
        raise AudioError(f"sample rate {sample_rate} is impossible; it is in Hz")
    if not np.isfinite(waveform).all():
        raise AudioError("the waveform holds NaN or infinite samples")
    return waveform.astype(np.float32)
