"""A detector, decoders and a model for tests of live recognition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from asr.audio.vad import SileroVadConfig
from asr.audio.vad.base import Vad, VadStream
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, Searchers
from asr.config import ModelSpec
from asr.features import build_frontend
from asr.features.fbank import FbankConfig
from asr.models.encoders.streaming_conformer import StreamingConformerConfig
from asr.models.heads import HeadConfig
from asr.models.heads.ctc import CtcHeadConfig
from asr.registry import NamedConfig
from asr.text.tokenizer import CharConfig, train_tokenizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import SegmentationConfig
from asr.transcribe.streaming.decoder import Update
from asr.transcribe.streaming.hearing import Hearing
from asr.transcribe.streaming.session import STEP_SECONDS, Session, advance_sessions
from asr.transcribe.streaming.settings import StreamingConfig, Turns
from asr.types import Segment

RATE = 16000
STEP = round(STEP_SECONDS * RATE)
PARTIALS = RequestOptions(partials=True)


class Loud(Vad):
    """Takes what is loud for speech."""

    def __init__(self) -> None:
        super().__init__(SileroVadConfig(), RATE)

    def stream(self) -> VadStream:
        return _LoudStream(RATE)


class _LoudStream(VadStream):
    def _score(self, frames_KW: np.ndarray) -> np.ndarray:
        return (np.abs(frames_KW).max(1) > 0.1).astype(np.float32)


def sound(*seconds: float) -> np.ndarray:
    """Silence and speech by turns, so many seconds each, silence first."""
    parts = [np.full(round(length * RATE), 0.5 * (number % 2), np.float32) for number, length in enumerate(seconds)]
    return np.concatenate(parts)


@dataclass
class Heard:
    """An utterance of `Counter`."""

    first: int
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    ended_with: float | None = None

    @property
    def has_text(self) -> bool:
        return bool((self.samples > 0.1).any())

    @property
    def quiet(self) -> float:
        loud = np.flatnonzero(self.samples > 0.1)
        return (len(self.samples) - (loud[-1] + 1 if len(loud) else 0)) / RATE


class Counter:
    """Writes one word for every whole second of speech; keeps what it was given."""

    def __init__(self) -> None:
        self.utterances: list[Heard] = []
        self.batches: list[int] = []

    def open(self, first: int, options: RequestOptions) -> Heard:
        self.utterances.append(Heard(first))
        return self.utterances[-1]

    def advance(
        self,
        utterances: Sequence[Heard],
        samples: Sequence[np.ndarray],
        silence: Sequence[float | None],
        behind: Sequence[bool] = (),
    ) -> list[Update]:
        self.batches.append(len(utterances))
        updates = []
        for one, new, quiet in zip(utterances, samples, silence, strict=True):
            one.samples = np.concatenate([one.samples, new])
            words = ("word",) * int((one.samples > 0.1).sum() / RATE)
            one.ended_with = quiet
            start, end = one.first / RATE, (one.first + len(one.samples)) / RATE
            segment = (Segment(start, end, " ".join(words)),) if words and quiet is not None else ()
            updates.append(Update(words if quiet is None else (), segment))
        return updates


def session_of(decoder: object, *, detector: bool = True, turns: Turns | None = None, **settings: object) -> Session:
    """A session whose settings are changed."""
    config = StreamingConfig.model_validate(settings)
    hearing = Hearing(SegmentationConfig(), Loud() if detector else None, RATE)
    config = config if turns is None else turns.streaming(config)
    return Session(decoder, hearing, config, PARTIALS, tells_turns=turns is not None)  # type: ignore[arg-type]


def run(decoder: object, session: Session, waveform: np.ndarray, min_recording: float = 0.0) -> list[float]:
    """Push a whole waveform in steps; the seconds after which segments were out."""
    ends = []
    for first in range(0, len(waveform), STEP):
        block = waveform[first : first + STEP]
        before = len(session.segments)
        is_last = first + STEP >= len(waveform)
        advance_sessions(decoder, [session], [block], [is_last], min_recording)  # type: ignore[arg-type]
        ends += [(first + len(block)) / RATE] * (len(session.segments) - before)
    return ends


def tiny_bundle(
    encoder: NamedConfig | None = None, heads: Sequence[HeadConfig] = (CtcHeadConfig(),), **frontend: object
) -> Bundle:
    """A model that streams, with weights of which every sound makes some text."""
    spec = ModelSpec(
        frontend=FbankConfig.model_validate({"cmvn": "none", "num_mel_bins": 20, **frontend}),
        tokenizer=CharConfig(),
        encoder=encoder or StreamingConformerConfig.tiny(),
        heads=tuple(heads),
    )
    tokenizer = train_tokenizer(spec.tokenizer, ["abc de fg"])
    bundle = Bundle.build(spec, build_frontend(spec.frontend), {"main": tokenizer}, seed=7)
    bundle.frontend.double().eval()
    bundle.model.double().eval()
    with torch.no_grad():  # one token would win everywhere
        bundle.model.heads["ctc"].output.linear.weight.mul_(3.0)
    return bundle


def searchers_of(bundle: Bundle, search: NamedConfig | None = None) -> Searchers:
    """The bundle's own search or another."""
    return Searchers(bundle, Decoding(search or bundle.spec.search))
