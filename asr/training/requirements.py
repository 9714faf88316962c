"""What an experiment needs of a row to learn from it: the same in `asr train` and in `asr data check`."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import torch

from asr.audio.augment import WaveformAugment
from asr.bundle import Bundle
from asr.config import ExperimentConfig, load_config
from asr.data.doctor.model import ModelNeeds
from asr.data.doctor.rows import Requirements
from asr.data.manifest import read_lines
from asr.data.shards.index import is_shard_index
from asr.features.frontend import Frontend
from asr.text.normalize import normalize
from asr.text.tokenizer import train_tokenizer
from asr.training.rows import read_training_rows
from asr.types import Utterance


def requirements(config: ExperimentConfig, bundle: Bundle) -> Requirements:
    """What a model of this shape needs, at the fastest speed augmentation may play a row."""

    @functools.cache  # a corpus has far fewer lengths than rows
    def output_len(feature_frames: int) -> int:
        return int(bundle.model.output_lens(torch.tensor([feature_frames])))

    augment = WaveformAugment(config.augment, bundle.frontend.sample_rate) if config.augment else None
    needs = ModelNeeds(
        tokenizer=bundle.tokenizer,
        frontend=bundle.frontend,
        output_len=output_len if config.loss.ctc_weight > 0 else None,
        max_speed=1 / augment.min_stretch if augment else 1.0,
    )
    return Requirements(config.normalize, config.data.min_duration, config.data.max_duration, needs)


def load_requirements(manifest: Path, *, model: Path | None = None, config: Path | None = None) -> Requirements:
    """What a trained model needs, or one that a configuration describes; without either, what any row must have.

    The tokenizer of an untrained model is made from the texts of `data.train`, or of `manifest` as long as that file
    does not exist; bad lines are passed over. Raises BundleError, ConfigError, and TextError where the texts do not
    suit the tokenizer.
    """
    if model is not None:
        bundle = Bundle.load(model)
        return requirements(bundle.config, bundle)
    if config is None:
        return Requirements()
    experiment = load_config(config)
    texts = [normalize(row.text, experiment.normalize) for row in _training_rows(experiment, manifest)]
    tokenizer = train_tokenizer(experiment.tokenizer, texts)
    return requirements(experiment, Bundle.build(experiment, Frontend(experiment.frontend), tokenizer))


def _training_rows(experiment: ExperimentConfig, manifest: Path) -> Iterable[Utterance]:
    train = Path(experiment.data.train)
    if is_shard_index(experiment.data.train):
        return read_training_rows(experiment.data)
    lines = read_lines(train if train.exists() else manifest)
    return (line.utterance for line in lines if line.utterance is not None)
