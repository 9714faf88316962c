"""From a configuration to everything a run needs: rows that can be learnt, tokenizer, statistics, network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio.augment import WaveformAugment
from asr.bundle import Bundle, TrainingTexts
from asr.config import ExperimentConfig
from asr.data.dataset import SpeechDataset
from asr.data.doctor.rows import Rejected, check_rows
from asr.data.loader import Loader
from asr.data.manifest import manifest_hash, read_manifest
from asr.data.rows import content_hash
from asr.data.sampler import BucketSampler, Sampler, ShardSampler
from asr.data.shards.reading import shard_numbers
from asr.data.splice import Splicer
from asr.errors import TrainingError
from asr.features.frontend import Frontend
from asr.features.spec_augment import SpecAugment
from asr.runtime import derive_rng
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer, train_tokenizer
from asr.training.requirements import requirements
from asr.training.rows import read_training_rows
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
    rows = read_training_rows(config.data)
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
    train, rejected = check_rows(rows, requirements(config, bundle))
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
    sampler = _train_sampler(config, utterances, stretch=augment.max_stretch if augment else 1.0)
    num_views = 2 if config.loss.consistency_weight > 0 else 1
    return Loader(dataset, sampler, config.data.num_workers, num_views=num_views)


def _train_sampler(config: ExperimentConfig, utterances: Sequence[Utterance], stretch: float) -> Sampler:
    data = config.data
    durations = [utterance.duration * stretch for utterance in utterances]
    shards = shard_numbers(utterances)
    if shards is None:
        return BucketSampler(
            durations, max_batch_seconds=data.max_batch_seconds, seed=config.seed, num_buckets=data.num_buckets
        )
    return ShardSampler(
        durations,
        shards,
        window=data.shuffle_shards,
        max_batch_seconds=data.max_batch_seconds,
        seed=config.seed,
        num_buckets=data.num_buckets,
    )


def read_pieces(config: ExperimentConfig, bundle: Bundle) -> list[Utterance]:
    """The pieces to chain, those left out that could not be learnt from alone; [] without `splice`."""
    if config.splice is None:
        return []
    pieces, _ = check_rows(read_manifest(Path(config.splice.pieces)), requirements(config, bundle))
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
    dataset = SpeechDataset(rows, frontend, tokenizer, config.normalize, seed=config.seed)
    frontend.fit_cmvn(dataset.raw_features(int(index)) for index in _statistics_rows(config, rows))
    return frontend


def _statistics_rows(config: ExperimentConfig, rows: Sequence[Utterance]) -> NDArray[np.int64]:
    """Which rows CMVN statistics are made of: of a sharded corpus from few shards, since each is fetched whole."""
    rng = derive_rng(config.seed, "cmvn")
    numbers = shard_numbers(rows)
    if numbers is None:
        return np.sort(rng.permutation(len(rows))[:MAX_STATISTICS_UTTERANCES])
    place = rng.permutation(max(numbers) + 1)[numbers]  # of each row's shard in a random order
    return np.sort(np.argsort(place, kind="stable")[:MAX_STATISTICS_UTTERANCES])


def data_hash(config: ExperimentConfig) -> str:
    """A hash of ids, texts and durations of all data, the same on every machine."""
    manifests = [config.data.dev, *([config.splice.pieces] if config.splice else [])]
    hashes = [content_hash(read_training_rows(config.data)), *(manifest_hash(Path(path)) for path in manifests)]
    return "+".join(whole[:16] for whole in hashes)
