"""From audio to text: a trained model behind one call.

>>> Recognizer.load("exp/an4").transcribe("a.wav").text
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import numpy as np
import torch

from asr.bundle.adapter import load_adapted
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, Searchers, SearchRequest, choose_decoding
from asr.bundle.store import find_model
from asr.bundle.streaming import can_stream
from asr.errors import ConfigError
from asr.system.runtime import resolve_device
from asr.transcribe.engine import DEFAULT_OPTIONS, Engine
from asr.transcribe.events import Event, Failed, SegmentReady
from asr.transcribe.lanes import Lanes
from asr.transcribe.recognized import Recognized
from asr.transcribe.recordings import Audio
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import DEFAULT_SEGMENTATION, SegmentationConfig, Segmenter, Span
from asr.transcribe.span_recognizer import SpanRecognizer
from asr.transcribe.streaming.build import build_live_engine
from asr.transcribe.streaming.engine import LiveEngine, LiveStream
from asr.transcribe.streaming.settings import DEFAULT_STREAMING, StreamingConfig, Turns
from asr.types import Segment, Transcript

MAX_WINDOWS = 12  # of a batch: what a decoder keeps of frames grows with each, and more are hardly faster
LIVE_OPTIONS = RequestOptions(partials=True)


def default_batch_seconds(bundle: Bundle) -> float:
    """Of a model of windows twice as many: each step of its decoder reads all weights, for however many rows."""
    return 60.0 if bundle.frontend.window_seconds is None else 240.0


class Recognizer:
    """Transcribes files and arrays of any length, any rate, in bounded memory; any number of threads may share it.

    Speech is found and cut into spans as `segmentation` says; spans are recognised in batches whose longest span times
    size is at most `max_batch_seconds` (None: `default_batch_seconds`). In float32 the text is the same whatever the
    batch. Words have times and, by the measure `confidence` of `asr.alignment.confidence`, confidences; not so with a
    model without CTC. A segment whose confidence is below `min_confidence` is taken for noise. `engine` takes requests
    with options of their own.
    """

    def __init__(
        self,
        bundle: Bundle,
        decoding: Decoding | Searchers,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        segmentation: SegmentationConfig = DEFAULT_SEGMENTATION,
        max_batch_seconds: float | None = None,
        confidence: str = "posterior",
        min_confidence: float = 0.0,
    ) -> None:
        self.bundle = bundle = bundle.with_dtype(dtype)
        self.device = device
        self.dtype = bundle.dtype  # its name, as outputs record it
        self.max_batch_seconds = max_batch_seconds or default_batch_seconds(bundle)
        self.max_batch_spans = None if bundle.frontend.window_seconds is None else MAX_WINDOWS
        window, longest = bundle.frontend.window_seconds, segmentation.max_span + 2 * segmentation.padding
        if window is not None and longest > window:
            raise ConfigError(
                f"max_span {segmentation.max_span:g} s with padding around it is more than the {window:g} s that the "
                f"model takes; use {window - 2 * segmentation.padding:g} or less"
            )
        self.segmenter = Segmenter(segmentation, bundle.frontend.sample_rate, window)
        searchers = decoding if isinstance(decoding, Searchers) else Searchers(bundle, decoding)
        self._spans = SpanRecognizer(bundle, searchers, confidence, min_confidence)
        self._live: dict[StreamingConfig, LiveEngine] = {}
        lanes = Lanes() if window is not None and device.type == "cpu" and torch.get_num_threads() > 1 else None
        self.engine = Engine(
            self.segmenter,
            lanes.sharing(self._spans.recognize) if lanes else self._spans.recognize,
            max_batch_seconds=self.max_batch_seconds,
            max_batch_spans=self.max_batch_spans,
            executor=lanes.executor if lanes else None,
            max_in_flight=lanes.number if lanes else 1,
            check=self._spans.finds_language,
            live=self.live() if can_stream(bundle) else None,
        )

    @classmethod
    def load(
        cls,
        model: str | Path,
        device: str = "auto",
        dtype: str = "auto",
        search: str | SearchRequest | None = None,
        *,
        segmentation: SegmentationConfig = DEFAULT_SEGMENTATION,
        max_batch_seconds: float | None = None,
        confidence: str = "posterior",
        min_confidence: float = 0.0,
        exact: bool = False,
        adapter: Path | None = None,
    ) -> Self:
        """A recognizer from a model folder, or of a model by its name, fetched at the first use.

        `search` names another search than the model's own; a `SearchRequest` changes settings or adds a language model
        and hotwords. `dtype` is auto, float32, bfloat16 or int8; auto has pretrained models run in the fastest types.
        `exact` has a model of fixed windows always hear a whole one, which is
        slower.
        `adapter` is the folder of what LoRA learnt on top of this model.

        Raises BundleError for a folder that is no model or language model, ConfigError for an unknown device,
        dtype, search, setting or measure of confidence.
        """
        request = search if isinstance(search, SearchRequest) else SearchRequest(search)
        where = resolve_device(device)
        folder = find_model(model)
        bundle = load_adapted(folder, adapter, where, dtype)
        if exact:
            bundle = bundle.exact()
        return cls(
            bundle,
            Searchers(bundle, choose_decoding(bundle, folder, request), folder, request),
            device=where,
            segmentation=segmentation,
            max_batch_seconds=max_batch_seconds,
            confidence=confidence,
            min_confidence=min_confidence,
        )

    def transcribe(
        self, audio: Audio, sample_rate: int = 16000, options: RequestOptions = DEFAULT_OPTIONS
    ) -> Transcript:
        """All segments of a file, or of a waveform (num_samples,) of floats in [-1, 1] at `sample_rate`.

        A file, which may be given as bytes or opened, says its rate itself; `sample_rate` is for samples: an array, a
        tensor or a list. `options` may name a language, a task and more. Audio without speech or too short for the
        model, an empty array included, gives an empty
        transcript. Raises AudioError for a file that cannot be read and for samples of another shape or type, not
        finite, or far beyond full scale.
        """
        with closing(self.engine.submit(audio, options, sample_rate=sample_rate)) as handle:
            return handle.result()

    def stream_segments(self, audio: Audio, sample_rate: int = 16000) -> Iterator[Segment]:
        """Like `transcribe`, but yields each segment as soon as it is ready; a fault of the file shows when reached."""
        with closing(self.engine.submit(audio, sample_rate=sample_rate)) as handle:
            for event in handle:
                if isinstance(event, SegmentReady):
                    yield event.segment
                elif isinstance(event, Failed):
                    raise event.error

    def live(self, config: StreamingConfig = DEFAULT_STREAMING) -> LiveEngine:
        """What recognises streams with these settings; made at the first call."""
        if config not in self._live:
            self._live[config] = build_live_engine(self.bundle, self._spans, config, self.segmenter.config)
        return self._live[config]

    def open_stream(
        self,
        sample_rate: int = 16000,
        options: RequestOptions = LIVE_OPTIONS,
        config: StreamingConfig = DEFAULT_STREAMING,
        turns: Turns | None = None,
    ) -> LiveStream:
        """Begin to recognise speech that will be pushed, at `sample_rate` in Hz; `turns` are of this stream alone.

        >>> stream = recognizer.open_stream()
        >>> stream.push(samples)  # as often as there are some; `stream.events_now()` gives what is known
        >>> stream.finish()
        >>> stream.result().text
        """
        return self.live(config).open(options, sample_rate=sample_rate, turns=turns)

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int = 16000,
        options: RequestOptions = LIVE_OPTIONS,
        config: StreamingConfig = DEFAULT_STREAMING,
    ) -> Iterator[Event]:
        """The events of blocks of samples (N,) as they come: Partial, SegmentReady, and at the end Done or Failed.

        After each block the events that have come by then are given, none is waited for.
        """
        with closing(self.open_stream(sample_rate, options, config)) as stream:
            for block in blocks:
                stream.push(block)
                yield from stream.events_now()
            stream.finish()
            yield from stream

    def finds_language(self, options: RequestOptions) -> bool:
        """See `SpanRecognizer.finds_language`."""
        return self._spans.finds_language(options)

    def close(self) -> None:
        """Fail what is not done, and end the threads."""
        for live in self._live.values():
            live.close()
        self.engine.close()

    @property
    def sample_rate(self) -> int:
        """Hz, of the spans it takes."""
        return self.bundle.frontend.sample_rate

    def recognize(self, spans: Sequence[Span], options: Sequence[RequestOptions] | None = None) -> list[Recognized]:
        """What spans say, in one batch and in the thread of the caller, each by options of its own."""
        return self._spans.recognize(spans, options or [DEFAULT_OPTIONS] * len(spans))
