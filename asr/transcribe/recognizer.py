"""From audio to text: a trained model behind one call.

>>> Recognizer.load("exp/an4").transcribe("a.wav").text
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch

from asr.audio.io import read_blocks
from asr.audio.resample import resample
from asr.bundle import Bundle
from asr.decoding.confidence import confidence_measure, text_confidence, word_confidences
from asr.decoding.corpus import Decoded, decode_aligned
from asr.errors import AudioError
from asr.lengths import pad_stack
from asr.runtime import resolve_device, resolve_dtype
from asr.transcribe.long_form import Span, batch_spans, split_spans
from asr.transcribe.search import Decoding, SearchRequest, choose_decoding
from asr.transcribe.timed_words import hear, timed_words
from asr.types import Batch, Segment, Transcript

BLOCK_SECONDS = 10.0  # read at once


class Recognizer:
    """Transcribes files and arrays of any length, any rate, in bounded memory.

    Audio longer than `max_span_seconds` is cut at quiet points into spans; spans are decoded in batches whose longest
    span times size is at most `max_batch_seconds`. In float32 the text is the same whatever the batch size. Words have
    times and, by the measure `confidence` of `asr.decoding.confidence`, confidences; not so with a model without CTC.
    """

    def __init__(
        self,
        bundle: Bundle,
        decoding: Decoding,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        max_span_seconds: float = 20.0,
        max_batch_seconds: float = 60.0,
        confidence: str = "posterior",
    ) -> None:
        self.bundle = bundle
        self.device = device
        self.dtype = dtype
        self.max_span_seconds = max_span_seconds
        self.max_batch_seconds = max_batch_seconds
        self._measure = confidence_measure(confidence)
        self._searcher = decoding.build(bundle, decoding.load_lm(bundle))

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "auto",
        dtype: str = "float32",
        search: str | SearchRequest | None = None,
        *,
        max_span_seconds: float = 20.0,
        max_batch_seconds: float = 60.0,
        confidence: str = "posterior",
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
            max_span_seconds=max_span_seconds,
            max_batch_seconds=max_batch_seconds,
            confidence=confidence,
        )

    def transcribe(self, audio: str | Path | np.ndarray, sample_rate: int = 16000) -> Transcript:
        """All segments of a file, or of a waveform (num_samples,) of floats in [-1, 1] at `sample_rate`.

        A file says its rate itself, `sample_rate` is for arrays. Audio too short for the model, an empty array
        included, gives an empty transcript. Raises AudioError for a file that cannot be read and for an array of
        another shape or type or with samples that are not finite.
        """
        return Transcript(tuple(self.stream_segments(audio, sample_rate)))

    def stream_segments(self, audio: str | Path | np.ndarray, sample_rate: int = 16000) -> Iterator[Segment]:
        """Like `transcribe`, but yields each segment as soon as it is ready; a fault of the file shows when reached."""
        model_rate = self.bundle.frontend.sample_rate
        blocks: Iterable[np.ndarray]
        if isinstance(audio, np.ndarray):
            blocks = [resample(_checked(audio, sample_rate), sample_rate, model_rate)]
        else:
            blocks = read_blocks(audio, model_rate, BLOCK_SECONDS)
        spans = split_spans(blocks, model_rate, self.max_span_seconds)
        audible = (span for span in spans if self._num_encoder_frames(span) > 0)
        for batch in batch_spans(audible, model_rate, self.max_batch_seconds):
            results = decode_aligned(self.bundle.model, self._searcher, [self._batch(batch)], self.device, self.dtype)
            for span, decoded in zip(batch, results, strict=True):
                segment = self._segment(span, decoded)
                if segment.text:
                    yield segment

    def _num_encoder_frames(self, span: Span) -> int:
        feature_lens = self.bundle.frontend.output_lens(torch.tensor([len(span.waveform)]))
        return int(self.bundle.model.output_lens(feature_lens))

    @torch.inference_mode()
    def _batch(self, spans: Sequence[Span]) -> Batch:
        waveforms, lens = pad_stack([torch.from_numpy(span.waveform) for span in spans])
        features, feature_lens = self.bundle.frontend(waveforms.to(self.device), lens.to(self.device))
        tokens = torch.zeros(len(spans), 0, dtype=torch.int64)
        return Batch(
            tuple(f"{span.start:.3f}" for span in spans), features, feature_lens, tokens, torch.zeros_like(lens)
        )

    def _segment(self, span: Span, decoded: Decoded) -> Segment:
        tokens = decoded.n_best[0].tokens
        text = self.bundle.tokenizer.decode(tokens)
        if decoded.ctc_log_probs is None:
            return Segment(span.start, span.end, text)
        words = self.bundle.tokenizer.words(tokens)
        sure = word_confidences(words, decoded.ctc_log_probs, tokens, decoded.token_frames, self._measure)
        timed = timed_words(words, sure, decoded.token_frames, hear(self.bundle, span.waveform), span.start, span.end)
        return Segment(span.start, span.end, text, timed, text_confidence(sure))


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
