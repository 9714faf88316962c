"""Searches the settings of a search on dev data: weights of language model, length and CTC, and the beam.

The encoder runs once over the dev data; every trial then only searches. One setting after another takes the best value
of its grid, those that matter most first; then language model and length, which pull against each other, go up or down
together; and so on until a round changes nothing. A few dozen trials suffice, and the same data give the same settings.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from asr.bundle.bundle import Bundle
from asr.bundle.corpus import encode_corpus
from asr.bundle.decode import Decoding
from asr.bundle.guard import Clips
from asr.bundle.recognition import search_encoded
from asr.config import DECODE_FILE, DecodeConfig, TuneRecord, dump_yaml
from asr.data.manifest import manifest_hash, read_references
from asr.decoding.fusion import BeamConfig
from asr.errors import ConfigError, StoppedError
from asr.experiments.prepare import batch_seconds_of, evaluation_loader
from asr.lm.base import TokenScorer
from asr.scoring.wer import Score, score
from asr.system.display import counted
from asr.system.environment import environment
from asr.system.runtime import atomic_path, write_text_atomic
from asr.transcribe.clips import clip_batches, encoded_clips
from asr.types import EncoderOutput, Utterance

Value = float | int

GRIDS: Mapping[str, Sequence[Value]] = {  # in the order they are searched; of equals the one found first wins
    "lm_weight": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3),
    "length_bonus": (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0),
    "ctc_weight": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "length_normalisation": (0.0, 0.3, 0.6, 1.0, 1.5),
    "beam": (10, 20, 40),
}
TOGETHER = ("lm_weight", "length_bonus")


@dataclass(frozen=True)
class Trial:
    """One set of settings, and how good it is."""

    settings: Mapping[str, Value]
    score: Score
    rtf: float  # seconds of search, without the encoder, per second of audio

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better: words count, and characters where the words are as good."""
        return self.score.words.errors, self.score.characters.errors


@dataclass(frozen=True)
class Tuned:
    """The best settings, and all that were tried in order."""

    decoding: Decoding
    best: Trial
    trials: tuple[Trial, ...]
    utterances: Sequence[Utterance]
    is_interrupted: bool = False  # by Ctrl-C: more trials were to come

    @property
    def is_improved(self) -> bool:
        """Whether a trial was better than the first, that of the settings it began with."""
        return self.best.rank < self.trials[0].rank


class Tuner:
    """Encoded dev data, ready to be searched again and again."""

    def __init__(self, bundle: Bundle, manifest: Path, device: torch.device) -> None:
        self.bundle = bundle
        self.utterances = read_references(manifest)
        bundle.model.to(device)
        self._encoded = list(
            _encoded_clips(bundle, self.utterances) or _encoded_features(bundle, self.utterances, device)
        )
        self._references = {utterance.id: utterance.text for utterance in self.utterances}
        self._seconds = sum(utterance.duration for utterance in self.utterances)

    def measure(self, decoding: Decoding, lm: TokenScorer | None, settings: Mapping[str, Value]) -> Trial:
        """Search all dev data."""
        options = decoding.options(self.bundle, lm)
        began = time.perf_counter()
        texts: dict[str, str] = {}
        for ids, encoded, clips in self._encoded:
            for id, n_best in zip(ids, search_encoded(self.bundle, encoded, [options] * len(ids), clips), strict=True):
                text = self.bundle.tokenizer.decode(n_best[0].tokens)
                texts[id] = f"{texts[id]} {text}" if id in texts else text  # of several windows
        seconds = time.perf_counter() - began
        hypotheses = {id: texts.get(id, "") for id in self._references}
        result = score(self._references, hypotheses, normalize=self.bundle.spec.normalize)
        return Trial(settings, result, seconds / max(self._seconds, 1e-9))


_Encoded = tuple[Sequence[str], EncoderOutput, Clips | None]  # utterance ids, the model's windows of them or None


def _encoded_features(bundle: Bundle, utterances: Sequence[Utterance], device: torch.device) -> Iterator[_Encoded]:
    loader = evaluation_loader(bundle.spec, utterances, bundle, num_workers=0)
    for batch, encoded in encode_corpus(bundle.model, loader.epoch(0), device):
        # log-probabilities of intermediate CTC are large, and no search asks for them
        yield batch.ids, EncoderOutput(encoded.frames, encoded.lens), None


def _encoded_clips(bundle: Bundle, utterances: Sequence[Utterance]) -> Iterator[_Encoded] | None:
    """None for a model that takes audio of any length."""
    if bundle.frontend.window_seconds is None:
        return None
    rate = bundle.frontend.sample_rate
    heard = [one for one in utterances if bundle.encoder_frames(round(one.duration * rate)) > 0]
    return (
        ([clip.utterance.id for clip in clips], *encoded_clips(bundle, clips))
        for clips in clip_batches(bundle, heard, batch_seconds_of(bundle.spec))
    )


def tune(
    tuner: Tuner,
    decoding: Decoding,
    *,
    max_trials: int = 80,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> Tuned:
    """The best settings of a beam search, starting from those of `decoding`.

    Raises ConfigError for a search without settings to tune. Stops early after `max_trials`, and at Ctrl-C if a trial
    is done by then.
    """
    names = tunable(decoding)
    settings: dict[str, Value] = {name: getattr(decoding.search, name) for name in names}
    lm = decoding.load_lm(tuner.bundle)
    trials: dict[tuple[Value, ...], Trial] = {}

    def trial(candidate: Mapping[str, Value]) -> Trial | None:
        key = tuple(candidate.values())
        if key not in trials:
            if len(trials) >= max_trials:
                return None
            changed = replace(decoding, search=decoding.search.model_copy(update=dict(candidate)))
            trials[key] = tuner.measure(changed, lm, dict(candidate))
            on_trial(trials[key])
        return trials[key]

    is_interrupted = False
    try:
        _climb(settings, trial)
    except KeyboardInterrupt:
        if not trials:
            raise
        is_interrupted = True
    best = min(trials.values(), key=lambda one: one.rank)  # of equals the first
    chosen = replace(decoding, search=decoding.search.model_copy(update=dict(best.settings)))
    if best.settings.get("lm_weight") == 0.0:
        chosen = replace(chosen, lm=None)
    return Tuned(chosen, best, tuple(trials.values()), tuner.utterances, is_interrupted)


def _climb(start: Mapping[str, Value], trial: Callable[[Mapping[str, Value]], Trial | None]) -> None:
    """Try settings from `start` on until a round over all grids changes nothing, or `trial` gives no more results."""
    best = trial(start)
    assert best is not None
    before = None
    while best.settings != before:
        before = best.settings
        for name in start:
            for value in GRIDS[name]:
                result = trial({**best.settings, name: value})
                if result is not None and result.rank < best.rank:
                    best = result
        for direction in (1, -1):
            while (candidate := _together(best.settings, direction)) is not None:
                result = trial(candidate)
                if result is None or result.rank >= best.rank:
                    break
                best = result


def _together(settings: Mapping[str, Value], direction: int) -> dict[str, Value] | None:
    """Settings with language model and length a step up (1) or down (-1); None where a grid ends."""
    if not set(TOGETHER) <= settings.keys():
        return None
    moved = dict(settings)
    for name in TOGETHER:
        grid = GRIDS[name]
        distances = [abs(value - settings[name]) for value in grid]
        place = distances.index(min(distances)) + direction
        if not 0 <= place < len(grid):
            return None
        moved[name] = grid[place]
    return moved


def tunable(decoding: Decoding) -> list[str]:
    """The settings of a search that are worth tuning."""
    if not isinstance(decoding.search, BeamConfig):
        raise ConfigError(f"search '{decoding.search.name}' has nothing to tune; use --search with a beam search")
    known = [name for name in GRIDS if name in type(decoding.search).model_fields]
    return [name for name in known if name != "lm_weight" or decoding.lm is not None]


def write_decode_config(folder: Path, tuned: Tuned, manifest: Path, command: str) -> DecodeConfig:
    """Write `decode.yaml` into a model folder, and the language model beside it, so that the folder stays whole."""
    lm = None
    source = tuned.decoding.lm
    if source is not None:
        lm = _name_in_folder(source)
        _copy_into(source, folder / lm)
    config = DecodeConfig(
        search=tuned.decoding.search,
        lm=lm,
        lm_mode=tuned.decoding.lm_mode,
        tuned_on=TuneRecord(
            command=command,
            manifest=manifest.name,
            data_hash=manifest_hash(manifest)[:16],
            utterances=len(tuned.utterances),
            wer=tuned.best.score.words.rate,
            environment=environment(),
        ),
    )
    write_text_atomic(folder / DECODE_FILE, dump_yaml(config))
    return config


def keep_the_best(folder: Path, tuned: Tuned, manifest: Path, command: str, dry_run: bool) -> StoppedError:
    """What to raise after Ctrl-C; `decode.yaml` is written, but for a dry run, if a better trial than the first exists.

    Without a better one nobody knows whether these settings are of use: those of the folder stay.
    """
    done = f"interrupted after {counted(len(tuned.trials), 'trial')}"
    if not tuned.is_improved:
        return StoppedError(f"{done}: none better than the settings it began with; nothing is written")
    best = "  ".join(f"{name} {cell}" for name, cell in trial_row(tuned.best).items())
    if dry_run:
        return StoppedError(f"{done}; best so far, not written: {best}")
    write_decode_config(folder, tuned, manifest, command)
    return StoppedError(f"{done}; best so far, written to {folder / DECODE_FILE}: {best}")


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial as cells of a table."""
    words = trial.score.words
    rate = "-" if words.rate is None else f"{100 * words.rate:.2f}"
    characters = trial.score.characters.rate
    return {
        **{name: f"{value:g}" for name, value in trial.settings.items()},
        "WER %": rate,
        "S": str(words.substitutions),
        "D": str(words.deletions),
        "I": str(words.insertions),
        "CER %": "-" if characters is None else f"{100 * characters:.2f}",
        "search RTF": f"{trial.rtf:.4f}",
    }


def _name_in_folder(lm: Path) -> str:
    return "lm" if lm.is_dir() else "lm.arpa.gz" if lm.name.endswith(".gz") else "lm.arpa"


def _copy_into(source: Path, target: Path) -> None:
    """Copy a language model; its training state, if it has any, stays behind."""
    if target.exists() and target.resolve() == source.resolve():
        return
    if target.is_symlink():  # what it leads to may serve others
        target.unlink()
    if source.is_file():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    partial = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("training"))
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
