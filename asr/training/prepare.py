"""From a configuration to everything a run needs: rows that can be learnt, tokenizer, statistics, network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asr.audio.augment import WaveformAugment
from asr.bundle import Bundle, TrainingTexts
from asr.config import ExperimentConfig
from asr.data.dataset import SpeechDataset
from asr.data.doctor import Rejected, check_rows
from asr.data.loader import Loader
from asr.data.manifest import manifest_hash, read_manifest
from asr.data.sampler import BucketSampler
from asr.data.splice import Splicer
from asr.errors import TrainingError
from asr.features.frontend import Frontend
from asr.features.spec_augment import SpecAugment
from asr.runtime import derive_rng
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer, train_tokenizer
from asr.training.warm_start import warm_start
from asr.types import Utterance

MAX_STATISTICS_UTTERANCES = 2000  # enough for mean and variance of each mel bin to settle


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start."""

    bundle: Bundle
    train: Sequence[Utterance]
    dev: Sequence[Utterance]
    rejected: Sequence[Rejected]
    train_loader: Loader
    dev_loader: Loader
    training_texts: TrainingTexts

    @property
    def train_hours(self) -> float:
        """Hours of speech an epoch holds, before speed perturbation."""
        return sum(utterance.duration for utterance in self.train) / 3600


def prepare(config: ExperimentConfig, say: Callable[[str], None], trained: Bundle | None = None) -> Prepared:
    """Read the manifests, train the tokenizer, measure CMVN statistics, set unusable rows aside, build the network.

    With `trained`, a bundle of the same experiment, its tokenizer, statistics and weights are taken as they are.
    Raises AsrError with the file, row or key at fault, and TrainingError when no row is left.
    """
    rows = read_manifest(Path(config.data.train))
    dev = read_manifest(Path(config.data.dev))
    texts = [normalize(row.text, config.normalize) for row in rows]
    if trained is not None:
        bundle = trained
    else:
        tokenizer = train_tokenizer(config.tokenizer, texts)
        frontend = _fit_frontend(config, rows, tokenizer)
        bundle = Bundle.build(config, frontend, tokenizer)
        if config.start_from is not None:
            say(f"{warm_start(bundle, Path(config.start_from)) / 1e6:.2f} M weights from {config.start_from}")
    train, rejected = _learnable(config, rows, bundle)
    for rejection in rejected[:5]:
        say(f"set aside {rejection.utterance.id}: {rejection.reason}")
    if len(rejected) > 5:
        say(f"set aside {len(rejected) - 5} more rows")
    if not train:
        raise TrainingError(f"{config.data.train}: no row can be learnt from; first reason: {rejected[0].reason}")
    return Prepared(
        bundle=bundle,
        train=train,
        dev=dev,
        rejected=rejected,
        train_loader=train_loader(config, train, bundle, read_pieces(config, bundle)),
        dev_loader=evaluation_loader(config, dev, bundle, num_workers=0),
        training_texts=TrainingTexts.collect(texts, (row.speaker for row in rows if row.speaker is not None)),
    )


def train_loader(
    config: ExperimentConfig, utterances: Sequence[Utterance], bundle: Bundle, pieces: Sequence[Utterance] = ()
) -> Loader:
    """Shuffled, augmented batches; utterances are spread over batches by their longest possible duration."""
    augment = WaveformAugment(config.augment, bundle.frontend.sample_rate) if config.augment else None
    dataset = SpeechDataset(
        utterances,
        bundle.frontend,
        bundle.tokenizer,
        config.normalize,
        augment=augment,
        spec_augment=SpecAugment(config.spec_augment) if config.spec_augment else None,
        splicer=Splicer(pieces, config.splice.probability) if config.splice else None,
        seed=config.seed,
    )
    stretch = augment.max_stretch if augment else 1.0
    sampler = BucketSampler(
        [utterance.duration * stretch for utterance in utterances],
        max_batch_seconds=config.data.max_batch_seconds,
        seed=config.seed,
        num_buckets=config.data.num_buckets,
    )
    num_views = 2 if config.loss.consistency_weight > 0 else 1
    return Loader(dataset, sampler, config.data.num_workers, num_views=num_views)


def read_pieces(config: ExperimentConfig, bundle: Bundle) -> list[Utterance]:
    """The pieces to chain, those left out that could not be learnt from alone; [] without `splice`."""
    if config.splice is None:
        return []
    pieces, _ = _learnable(config, read_manifest(Path(config.splice.pieces)), bundle)
    if not any(piece.speaker for piece in pieces):
        raise TrainingError(f"{config.splice.pieces}: no piece has a speaker and can be learnt from; cut others")
    return pieces


def evaluation_loader(
    config: ExperimentConfig,
    utterances: Sequence[Utterance],
    bundle: Bundle,
    *,
    num_workers: int,
    max_batch_seconds: float | None = None,
) -> Loader:
    """Length-sorted batches without augmentation; the order of results is not that of the manifest."""
    dataset = SpeechDataset(utterances, bundle.frontend, bundle.tokenizer, config.normalize, seed=config.seed)
    sampler = BucketSampler(
        [utterance.duration for utterance in utterances],
        max_batch_seconds=max_batch_seconds or config.data.max_batch_seconds,
        seed=config.seed,
        shuffle=False,
    )
    return Loader(dataset, sampler, num_workers)


def _fit_frontend(config: ExperimentConfig, rows: Sequence[Utterance], tokenizer: Tokenizer) -> Frontend:
    """A front-end with CMVN statistics from at most MAX_STATISTICS_UTTERANCES rows, drawn by the seed."""
    frontend = Frontend(config.frontend)
    if not frontend.needs_statistics:
        return frontend
    order = derive_rng(config.seed, "cmvn").permutation(len(rows))[:MAX_STATISTICS_UTTERANCES]
    dataset = SpeechDataset(rows, frontend, tokenizer, config.normalize, seed=config.seed)
    frontend.fit_cmvn(dataset.raw_features(int(index)) for index in np.sort(order))
    return frontend


def _learnable(
    config: ExperimentConfig, rows: Sequence[Utterance], bundle: Bundle
) -> tuple[list[Utterance], list[Rejected]]:
    """Rows a model of this shape can learn from, at the fastest speed augmentation may play them."""

    def output_len(feature_frames: int) -> int:
        return int(bundle.model.output_lens(torch.tensor([feature_frames])))

    augment = WaveformAugment(config.augment, bundle.frontend.sample_rate) if config.augment else None
    return check_rows(
        rows,
        bundle.tokenizer,
        config.normalize,
        bundle.frontend,
        output_len=output_len if config.loss.ctc_weight > 0 else None,
        min_duration=config.data.min_duration,
        max_duration=config.data.max_duration,
        max_speed=1 / augment.min_stretch if augment else 1.0,
    )


def data_hash(config: ExperimentConfig) -> str:
    """A hash of ids, texts and durations of all manifests, the same on every machine."""
    manifests = [config.data.train, config.data.dev, *([config.splice.pieces] if config.splice else [])]
    return "+".join(manifest_hash(Path(path))[:16] for path in manifests)
