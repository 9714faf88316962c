"""Speech recognition as a training task: joint loss on batches, word error rate on the dev set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from asr.bundle.adapter import ADAPTER_FOLDER, AdapterConfig, describe_base, read_adapter, save_adapter
from asr.bundle.bundle import Bundle
from asr.bundle.corpus import decode_corpus
from asr.bundle.import_record import pass_on_record
from asr.bundle.store import find_model
from asr.config import Experiment
from asr.data.loader import Loader
from asr.decoding.base import build_search
from asr.experiments.batch_size import with_saved_batch_seconds
from asr.experiments.inherit import load_training
from asr.experiments.loss import batch_loss
from asr.experiments.prepare import Prepared, data_hash, prepare
from asr.experiments.ready import Kind, Ready, num_parameters, steps_per_epoch
from asr.experiments.trial import Trial
from asr.scoring.wer import score
from asr.system.display import counted
from asr.text.normalize import normalize
from asr.training.compile import uncompiled
from asr.training.distributed import ALONE, World
from asr.training.metrics import AUDIO_SECONDS, CANARY_WER, WER, Metric
from asr.training.task import LossOutput, StepDraws
from asr.types import Batch, Utterance
from asr.upgrade import upgrade_tensors


class AsrTask:
    """Trains the model of a bundle and keeps the bundle's folder up to date."""

    metric = WER
    unit = AUDIO_SECONDS
    item = "utterance"

    def __init__(self, prepared: Prepared, folder: Path, device: torch.device, world: World = ALONE) -> None:
        self.bundle: Bundle = prepared.bundle
        self.model = self.bundle.model.to(device)
        self.folder = folder
        self.device = device
        self._world = world
        self._config = config = prepared.bundle.experiment
        self._train = prepared.train_loader
        self._dev = prepared.dev_loader
        self._references = self._normalized(prepared.dev)
        self._canary = prepared.canary_loader
        self._canary_references = self._normalized(prepared.canary)
        self.other_metrics: Sequence[Metric] = (CANARY_WER,) if prepared.canary_loader is not None else ()
        self._searcher = build_search(config.search, self.model.heads)
        self._adapter = _adapter_of(config, folder)
        self._frame_seconds = self.bundle.frontend.frame_seconds

    @property
    def loss_parts(self) -> Sequence[str]:
        """The losses of all heads, by head id."""
        return self.model.loss_names(self._config.loss)

    @property
    def waited_seconds(self) -> float:
        """How long the trainer has waited for batches since the epoch began."""
        return self._train.waited_seconds

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """Training batches of an epoch from position `start`, on the device."""
        return (batch.to(self.device) for batch in self._train.epoch(epoch, start))

    def num_batches(self, epoch: int) -> int:
        """How many training batches an epoch has."""
        return self._train.num_batches(epoch)

    def loss(self, batch: Batch, draws: StepDraws) -> LossOutput:
        """The losses of all heads, weighted and summed over the utterances of a batch."""
        return batch_loss(self.model, batch, self._config.loss, draws)

    def count(self, batch: Batch) -> int:
        """Utterances, each counted once however many views of it there are."""
        return self.num_utterances(batch)

    def num_utterances(self, batch: Batch) -> int:
        """As `count`."""
        return batch.num_utterances

    def amount(self, batch: Batch) -> float:
        """Seconds of audio in a batch, of one view of each utterance."""
        return float(batch.readable_lens[0].sum()) * self._frame_seconds / batch.num_views

    def split(self, batch: Batch, sizes: Sequence[int]) -> list[Batch]:
        """Parts of so many utterances each, with all views of them, view after view."""
        views = torch.arange(len(batch.ids)).view(-1, sum(sizes))  # a row of numbers for each view
        return [
            batch.rows(views[:, end - size : end].flatten()) for size, end in zip(sizes, accumulate(sizes), strict=True)
        ]

    def validate(self) -> dict[str, float]:
        """WER on the dev set with the search people will use; each rank decodes batches of its own.

        Of audio that cannot be read all words are deletions, which is warned of.
        """
        measures = {WER.key: self._error_rate(self._dev, self._references, "dev")}
        if self._canary is not None:
            measures[CANARY_WER.key] = self._error_rate(self._canary, self._canary_references, "canary")
        return measures

    def _normalized(self, rows: Sequence[Utterance]) -> dict[str, str]:
        return {row.id: normalize(row.text, self._config.normalize) for row in rows}

    def _error_rate(self, loader: Loader, references: dict[str, str], name: str) -> float:
        unreadable: list[str] = []
        with uncompiled(self.model):
            batches = _readable(loader, unreadable)
            own = {
                id: normalize(self.bundle.tokenizer.decode(nbest[0].tokens), self._config.normalize)
                for id, nbest in decode_corpus(self.model, self._searcher, batches, self.device)
            }
        hypotheses: dict[str, str] = {}
        for texts, reasons in self._world.all_gather([own, unreadable]):
            hypotheses |= texts
            for reason in reasons:
                self._world.display().say(f"warning: counted as not recognised: {name} {reason}")
        words = score(references, hypotheses, allow_missing=True).words
        return words.rate if words.rate is not None else float(words.insertions > 0)

    def keep(self, weights: dict[str, Tensor]) -> None:
        """Write the model folder with these weights."""
        self.model.load_state_dict(weights)
        self.bundle.save(self.folder)
        if self._adapter is not None:
            save_adapter(self.folder / ADAPTER_FOLDER, self.model, self._adapter)


def _readable(loader: Loader, unreadable: list[str]) -> Iterator[Batch]:
    """Batches with at least one row; `unreadable` gets the reasons why others are missing."""
    for batch in loader.epoch(0):
        unreadable += [row.reason for row in batch.unreadable]
        if batch.ids:
            yield batch


def begin(config: Experiment, out: Path, world: World, say: Callable[[str], None]) -> Ready:
    """A task with a tokenizer, statistics and weights of its own; its model is in its folder by then."""
    prepared = prepare(config, say, world=world)
    prepared.bundle.save(out)
    if prepared.training_texts is not None:
        prepared.training_texts.save(out)
    if prepared.init_report is not None:
        prepared.init_report.save(out / "training")
        pass_on_record(find_model(prepared.init_report.folder), out)
    return _ready(prepared, out, world)


def resume(config: Experiment, out: Path, world: World, say: Callable[[str], None]) -> Ready:
    """The task of the model in a folder."""
    return _ready(prepare(config, say, Bundle.load(out), world), out, world)


def _ready(prepared: Prepared, out: Path, world: World) -> Ready:
    return Ready(
        task=AsrTask(prepared, out, world.device, world),
        config=prepared.bundle.experiment,
        description=_describe(prepared),
        odd_loss=lambda: Trial(prepared.bundle, world.device).odd_loss(),
        frozen=prepared.frozen,
        measure_start=prepared.init_report is not None,
        upgrade=lambda tensors: upgrade_state(tensors, list(prepared.bundle.model.heads)),
    )


def _adapter_of(config: Experiment, out: Path) -> AdapterConfig | None:
    """What is known of the adapter that a run learns: as the run began, if it is resumed; None without LoRA."""
    if config.lora is None or config.init_from is None:
        return None
    if (out / ADAPTER_FOLDER).is_dir():
        return read_adapter(out / ADAPTER_FOLDER)
    return describe_base(config.init_from.folder, find_model(config.init_from.folder), config.lora)


def upgrade_state(tensors: dict[str, Tensor], head_ids: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, or of an epoch, of any version under today's names."""
    for prefix in ("model.", "ema.weights.", ""):
        tensors = upgrade_tensors(tensors, head_ids, prefix)
    return tensors


def _describe(prepared: Prepared) -> str:
    """Hours, vocabulary, parameters and steps in one line."""
    bundle = prepared.bundle
    num_steps = steps_per_epoch(prepared.train_loader.num_batches(0), bundle.experiment)
    return (
        f"{prepared.train_hours:.2f} h in {counted(len(prepared.train), 'utterance')} "
        f"({len(prepared.rejected)} set aside), {len(prepared.dev)} dev; "
        f"{bundle.tokenizer.vocab_size} tokens ({bundle.experiment.tokenizer.name}); "
        f"{num_parameters(bundle.model) / 1e6:.2f} M parameters; {counted(num_steps, 'step')} an epoch"
    )


SPEECH = Kind(
    command=("asr", "train"),
    noun="model",
    load=load_training,
    data_hash=data_hash,
    begin=begin,
    resume=resume,
    with_findings_of=with_saved_batch_seconds,
)
