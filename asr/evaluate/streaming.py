"""A manifest as it would be spoken: error rate beside that of whole utterances, and how late words appear.

Each utterance is pushed at its own speed, in blocks of a step, with its own background going on behind it. Nobody
waits: the clock is simulated, and computation moves it on by as long as it takes. Several streams share the clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, Searchers
from asr.bundle.recognition import DecodeOptions, align_best, encode_waveforms
from asr.bundle.streaming import can_stream, tokenizer_of
from asr.bundle.words import place_words
from asr.decoding.base import AnySearch
from asr.evaluate.evaluation import Evaluation
from asr.evaluate.latency import Latency, Shown, Spread, Timeline
from asr.evaluate.strata import score_of
from asr.scoring.wer import Score
from asr.system.display import percent
from asr.system.runtime import atomic_path, derive_rng, write_text_atomic
from asr.text.normalize import normalize
from asr.transcribe.events import Partial, SegmentReady
from asr.transcribe.recognizer import LIVE_OPTIONS, Recognizer
from asr.transcribe.streaming.engine import LiveEngine
from asr.transcribe.streaming.session import STEP_SECONDS, Session, advance_sessions
from asr.transcribe.streaming.settings import StreamingConfig
from asr.types import Hypothesis, Utterance, Word

SILENCE_SECONDS = 1.6  # behind every utterance: time for its end to be noticed
TONE_SECONDS = 0.05  # of the frames whose quietest ones that silence is made after


@dataclass(frozen=True)
class Load:
    """So many streams at once."""

    streams: int
    latency: Latency
    seconds: float  # of computation
    audio_seconds: float

    def to_json(self) -> dict[str, Any]:
        """One point of the curve."""
        return {
            "streams": self.streams,
            "rtf": self.seconds / self.audio_seconds if self.audio_seconds else None,
            **self.latency.to_json(),
        }


@dataclass(frozen=True)
class StreamEvaluation:
    """What came of a manifest while it was spoken."""

    utterances: Sequence[Utterance]
    hypotheses: dict[str, str]  # by id
    score: Score
    offline: Evaluation
    config: StreamingConfig
    uses_states: bool  # False: LocalAgreement
    loads: tuple[Load, ...]  # the first is of one stream, unless another number was asked for alone

    def to_json(self) -> dict[str, Any]:
        """The keys of a score, those of whole utterances, and the latencies in seconds."""
        offline = self.offline.score.words.rate
        return {
            **self.score.to_json(),
            "offline_wer": offline,
            "method": "states" if self.uses_states else "local_agreement",
            "streaming": self.config.model_dump(mode="json"),
            **self.loads[0].to_json(),
            "parallel": [load.to_json() for load in self.loads],
            **self.offline.decoding.to_json(),
        }

    def save(self, folder: Path) -> bool:
        """Write stream.json, hypotheses.jsonl and latency.png; False where that one needs matplotlib."""
        rows = (
            {"id": one.id, "text": self.hypotheses[one.id], "reference": one.text, "offline": self.offline_text(one)}
            for one in self.utterances
        )
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomic(folder / "hypotheses.jsonl", lines)
        write_text_atomic(folder / "stream.json", json.dumps(self.to_json(), indent=2) + "\n")
        return draw_latency(self.loads, folder / "latency.png")

    def offline_text(self, utterance: Utterance) -> str:
        """What the whole utterance says."""
        return self.offline.hypotheses[utterance.id]

    def table(self) -> str:
        """Lines for people; rates in percent, times in seconds."""
        load = self.loads[0]
        latency = load.latency
        rate, offline = (score.words.rate for score in (self.score, self.offline.score))
        way = "states" if self.uses_states else "LocalAgreement"
        lines = [
            f"{'':24}{'WER %':>8}{'S':>6}{'D':>6}{'I':>6}{'words':>8}",
            _score_line(f"streaming, {self.config.chunk:g} s" if self.uses_states else "streaming", self.score),
            _score_line("whole utterances", self.offline.score),
            f"way: {way}; difference {percent(None if None in (rate, offline) else rate - offline, '-')} points",  # type: ignore[operator]
            f"{'':24}{'p50 s':>8}{'p95 s':>8}{'mean s':>8}{'count':>8}",
            _spread_line("first word shown", latency.first_partial),
            _spread_line("word shown after its end", latency.emission),
            _spread_line("final after last word", latency.finalisation),
            f"shown words that changed: {percent(latency.changed_share, '-')} % of {latency.shown_words}",
        ]
        for each in self.loads:
            late = each.latency.finalisation.percentile(95)
            rtf = each.seconds / each.audio_seconds if each.audio_seconds else 0.0
            lines.append(f"{each.streams:>4} at once: final p95 {_seconds(late)} s, RTF {rtf:.3f}")
        return "\n".join(lines)


def run_stream(
    bundle: Bundle,
    offline: Evaluation,
    decoding: Decoding,
    config: StreamingConfig,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    normalizer: str | None = None,
    parallel: Sequence[int] = (1,),
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> StreamEvaluation:
    """Push every utterance of an evaluation through a recognizer of the same decoding, and score what comes of it.

    Times of reference words come from forced alignment of the reference text over the whole utterance, with the model
    itself; without a head that can align there are no latencies. Texts are compared under `normalizer`, by default the
    model's. `parallel` are numbers of streams at once, each run
    over all utterances; texts and error rate are those of the first.
    """
    searchers = Searchers(bundle, decoding)
    recognizer = Recognizer(bundle, searchers, device=device, dtype=dtype)
    searcher = searchers.get(None)
    utterances = list(offline.utterances)
    waveforms = {one.id: _with_silence(bundle, one) for one in utterances}
    own, normalizer = bundle.spec.normalize, normalizer or bundle.spec.normalize
    references = {
        one.id: normalized_words(
            align_reference(bundle, searcher, normalize(one.text, own), waveforms[one.id]), normalizer
        )
        for one in utterances
    }
    live = recognizer.live(config)
    total = len(utterances) * len(parallel)

    def tell(before: int, done: int) -> None:
        on_progress(before + done, total)

    runs = [
        _run(live, waveforms, references, normalizer, count, partial(tell, number * len(utterances)))
        for number, count in enumerate(parallel)
    ]
    texts, _ = runs[0]
    return StreamEvaluation(
        utterances=utterances,
        hypotheses=texts,
        score=score_of(utterances, texts, normalizer),
        offline=offline,
        config=config,
        uses_states=can_stream(bundle),
        loads=tuple(load for _, load in runs),
    )


def align_reference(bundle: Bundle, searcher: AnySearch, text: str, waveform: np.ndarray) -> tuple[Word, ...]:
    """The words of a text in seconds of a waveform (N,); () where no head can align, or the text does not fit."""
    tokenizer = tokenizer_of(bundle, searcher.vocabulary)
    tokens = tuple(tokenizer.encode(text))
    if not tokens or tokenizer.decode(tokens).split() != text.split():
        return ()
    encoded = encode_waveforms(bundle, [waveform])
    (places,) = align_best(bundle.backend, encoded, searcher.vocabulary, [[Hypothesis(tokens, 0.0)]])
    if places.frames is None:
        return ()
    placed = place_words(tokenizer, tokens, places, DecodeOptions(searcher).measure)
    return placed.timed(waveform, bundle.frontend.sample_rate, bundle.frame_seconds)


def normalized_words(words: Iterable[Word], normalizer: str) -> tuple[Word, ...]:
    """The words of a reference under a normaliser, which may make several of one, with the times of that one."""
    return tuple(replace(word, text=part) for word in words for part in normalize(word.text, normalizer).split())


@dataclass
class _Slot:
    """One stream of a simulation: the utterance that is being spoken."""

    id: str
    session: Session
    waveform: np.ndarray
    timeline: Timeline
    began: float  # on the clock of the simulation
    place: int = 0  # the next sample
    final: list[str] = field(default_factory=list)


def _run(
    live: LiveEngine,
    waveforms: dict[str, np.ndarray],
    references: dict[str, tuple[Word, ...]],
    normalizer: str,
    count: int,
    on_done: Callable[[int], None],
) -> tuple[dict[str, str], Load]:
    """All utterances, `count` at once: texts by id, and the figures."""
    step = round(STEP_SECONDS * live.sample_rate)
    waiting = iter(waveforms)
    slots: list[_Slot] = []
    timelines: list[Timeline] = []
    texts: dict[str, str] = {}
    spoken = clock = spent = 0.0
    while True:
        for id in islice(waiting, count - len(slots)):
            timeline = Timeline(reference=references[id])
            slots.append(_Slot(id, live.new_session(LIVE_OPTIONS), waveforms[id], timeline, spoken))
        if not slots:
            break
        spoken += STEP_SECONDS
        blocks = [slot.waveform[slot.place : slot.place + step] for slot in slots]
        last = [slot.place + step >= len(slot.waveform) for slot in slots]
        began = _now()
        behind = [clock > spoken + STEP_SECONDS] * len(slots)
        advance_sessions(live.decoder, [slot.session for slot in slots], blocks, last, live.min_recording, behind)
        took = min(now - before for now, before in zip(_now(), began, strict=True))
        spent += took
        clock = max(clock, spoken) + took
        for slot in slots:
            slot.place += step
            _note(slot, clock, normalizer)
        for slot in [slot for slot, is_last in zip(slots, last, strict=True) if is_last]:
            slots.remove(slot)
            texts[slot.id] = " ".join(segment.text for segment in slot.session.segments)
            timelines.append(slot.timeline)
            on_done(len(texts))
    audio_seconds = sum(map(len, waveforms.values())) / live.sample_rate
    return {id: texts[id] for id in waveforms}, Load(count, Latency.of(timelines), spent, audio_seconds)


def _now() -> tuple[float, float]:
    """Time on the wall and of this process: the lesser of their differences leaves out what others compute meanwhile.

    With a GPU that is as good: the host computes, too, while it waits.
    """
    return time.perf_counter(), time.process_time()


def _note(slot: _Slot, clock: float, normalizer: str) -> None:
    """Write down what a reader sees after a step."""
    events = slot.session.take_events()
    if not events:
        return
    words: tuple[str, ...] = ()
    for event in events:
        if isinstance(event, SegmentReady):
            slot.final += normalize(event.segment.text, normalizer).split()
            words = ()
        elif isinstance(event, Partial):
            words = tuple(normalize(event.segment.text, normalizer).split())
    slot.timeline.shown.append(Shown(clock - slot.began, (*slot.final, *words), len(slot.final)))


def _with_silence(bundle: Bundle, utterance: Utterance) -> np.ndarray:
    """The samples of an utterance and, behind them, its own background going on."""
    rate = bundle.frontend.sample_rate
    waveform = load_audio(utterance.audio, rate, start=utterance.start, duration=utterance.duration)
    size = 2 * round(TONE_SECONDS * rate / 2)
    noise = background(waveform, size, round(SILENCE_SECONDS * rate), derive_rng(utterance.id, "silence"))
    return np.concatenate([waveform, noise])


def background(waveform: np.ndarray, size: int, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (num_samples,) as loud, and of the same spectrum, as the quietest tenth of a waveform's frames of `size`.

    White noise would not do: a recogniser may take it for an F.
    """
    frames = waveform[: len(waveform) // size * size].reshape(-1, size).astype(np.float64)
    if not len(frames):
        return np.zeros(num_samples, dtype=np.float32)
    energy = np.square(frames).mean(1)
    quiet = frames[np.argsort(energy, kind="stable")[: max(1, len(frames) // 10)]]
    window = np.hanning(size + 1)[:-1]  # shifted by half of its length it adds up to one
    power = np.square(np.abs(np.fft.rfft((quiet - quiet.mean(1, keepdims=True)) * window))).mean(0)
    hop = size // 2
    noise = np.zeros((num_samples // hop + 2) * hop)
    for start in range(0, len(noise) - size + 1, hop):
        phase = np.exp(2j * np.pi * rng.random(len(power)))
        noise[start : start + size] += np.fft.irfft(np.sqrt(power) * phase, size) * window
    noise = noise[hop : hop + num_samples]
    level = float(np.sqrt(np.square(noise).mean()))
    target = float(np.sqrt(np.square(quiet - quiet.mean(1, keepdims=True)).mean()))
    return (noise * (target / level if level else 0.0)).astype(np.float32)


def _score_line(name: str, score: Score) -> str:
    words = score.words
    return (
        f"{name:24}{percent(words.rate, '-'):>8}{words.substitutions:>6}{words.deletions:>6}{words.insertions:>6}"
        f"{words.reference_length:>8}"
    )


def _spread_line(name: str, spread: Spread) -> str:
    p50, p95 = (_seconds(spread.percentile(share)) for share in (50, 95))
    return f"{name:24}{p50:>8}{p95:>8}{_seconds(spread.mean):>8}{len(spread.values):>8}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def draw_latency(loads: Sequence[Load], picture: Path) -> bool:
    """Draw the latencies of one stream, and the latency over the number of streams; False without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    latency = loads[0].latency
    named = {"first word": latency.first_partial, "each word": latency.emission, "final": latency.finalisation}
    for name, spread in named.items():
        if spread.values:
            values = np.sort(spread.values)
            left.step(values, np.arange(1, len(values) + 1) / len(values), where="post", label=name)
    left.set(xlabel="seconds", ylabel="share within", ylim=(0, 1), title=f"{loads[0].streams} at once")
    if left.has_data():
        left.legend(loc="upper left")
        left.set_xlim(left=0.0)
    points = [(load.streams, load.latency.finalisation.percentile(95)) for load in loads]
    points = [point for point in points if point[1] is not None]
    right.plot(*(zip(*points, strict=True) if points else ((), ())), "o-")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set_ylim(0.0, 1.15 * max((late for _, late in points if late is not None), default=1.0))
    right.set(xlabel="streams at once", ylabel="seconds from end of speech to final, p95")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return True
