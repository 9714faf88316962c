"""What an experiment needs of a row to learn from it: the same in `asr train` and in `asr data check`."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch

from asr.audio.augment import WaveformAugment
from asr.bundle.bundle import Bundle
from asr.config import Experiment
from asr.data.manifest import read_lines
from asr.data.requirements import CODES, ModelNeeds, Requirements
from asr.data.shards.index import is_shard_index
from asr.experiments.inherit import load_training
from asr.experiments.survey import read_training_rows
from asr.features import Frontend, build_frontend
from asr.models.encoders import Encoder
from asr.models.heads import HEADS
from asr.text.normalize import normalize
from asr.text.tokenizer import train_tokenizer
from asr.types import Utterance


class Lengths:
    """What a module makes of one length. A corpus has far fewer lengths than rows, so each is computed once.

    Other processes get a copy of it, for which it holds the module without its weights.
    """

    def __init__(self, module: Frontend | Encoder) -> None:
        self._module = copy.deepcopy(module).to("meta")
        self._known: dict[int, int] = {}

    def __call__(self, length: int) -> int:
        if length not in self._known:
            self._known[length] = int(self._module.output_lens(torch.tensor([length])))
        return self._known[length]


def requirements(config: Experiment, bundle: Bundle) -> Requirements:
    """What a model of this shape needs, at the fastest speed augmentation may play a row."""
    augment = WaveformAugment(config.augment, bundle.frontend.sample_rate) if config.augment else None
    needs = ModelNeeds(
        tokenizer=bundle.tokenizer,
        sample_rate=bundle.frontend.sample_rate,
        feature_len=Lengths(bundle.frontend),
        output_len=Lengths(bundle.model.encoder),
        min_frames=tuple(
            (bundle.tokenizers[head.tokenizer], HEADS.part(head.name).min_frames) for head in bundle.spec.heads
        ),
        max_speed=1 / augment.min_stretch if augment else 1.0,
    )
    return Requirements(config.target_normalizer, config.data.min_duration, config.data.max_duration, needs)


def requirements_key(config: Experiment, bundle: Bundle) -> str:
    """Hexadecimal; the same for experiments whose `requirements` judge every row alike."""
    parts = config.model_dump(mode="json", include={"data", "frontend", "encoder", "augment", "heads"})
    parts["normalize"] = config.target_normalizer
    parts["data"] = [config.data.min_duration, config.data.max_duration]
    parts["tokenizer"] = bundle.tokenizer.digest
    parts["codes"] = CODES  # what is stored under the key holds places in it
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def load_requirements(manifest: Path, *, model: Path | None = None, config: Path | None = None) -> Requirements:
    """What a trained model needs, or one that a configuration describes; without either, what any row must have.

    The tokenizer of an untrained model is made from the texts of `data.train`, or of `manifest` as long as that file
    does not exist; bad lines are passed over. Raises BundleError, ConfigError, and TextError where the texts do not
    suit the tokenizer.
    """
    if model is not None:
        bundle = Bundle.load(model)
        return requirements(bundle.experiment, bundle)
    if config is None:
        return Requirements()
    experiment = load_training(config)
    texts = [normalize(row.text, experiment.target_normalizer) for row in _training_rows(experiment, manifest)]
    tokenizers = {name: train_tokenizer(tokenizer, texts) for name, tokenizer in experiment.tokenizer_configs.items()}
    bundle = Bundle.build(experiment, build_frontend(experiment.frontend), tokenizers, seed=experiment.seed)
    return requirements(experiment, bundle)


def _training_rows(experiment: Experiment, manifest: Path) -> Iterable[Utterance]:
    train = Path(experiment.data.train)
    if is_shard_index(experiment.data.train):
        return read_training_rows(experiment.data)
    lines = read_lines(train if train.exists() else manifest)
    return (line.utterance for line in lines if line.utterance is not None)
