"""From a configuration to everything a run needs: rows that can be learnt, tokenizer, statistics, network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asr.audio.augment import WaveformAugment
from asr.bundle.bundle import Bundle
from asr.bundle.training_texts import TrainingTexts
from asr.config import Experiment, ModelSpec
from asr.data.dataset import SpeechDataset
from asr.data.loader import Loader
from asr.data.manifest import manifest_hash, read_manifest
from asr.data.manifest.table import durations_of, total_seconds
from asr.data.permutation import sample_rows
from asr.data.ranks import BatchesOfRank, RowsOfRank
from asr.data.requirements import NUM_EXAMPLES, SetAside, check_rows
from asr.data.sampler import BucketSampler, CurriculumSampler, Sampler, ShardSampler
from asr.data.shards.reading import shard_starts
from asr.data.splice import Splicer
from asr.errors import AudioError, ConfigError, TrainingError
from asr.experiments.batch_size import settle_batch_seconds
from asr.experiments.inherit import inherited_tokenizers
from asr.experiments.init_from import InitReport, init_from
from asr.experiments.requirements import requirements, requirements_key
from asr.experiments.rows import read_rows
from asr.experiments.survey import read_training_rows, survey
from asr.features import Frontend, build_frontend
from asr.features.spec_augment import SpecAugment
from asr.nn.lora import add_lora
from asr.system.display import counted
from asr.system.runtime import derive_rng
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer, train_tokenizer
from asr.training.distributed import ALONE, World
from asr.training.freezing import FrozenParts
from asr.types import MAIN_TOKENIZER, Utterance

MAX_STATISTICS_UTTERANCES = 2000  # enough for mean and variance of each mel bin to settle
DEFAULT_BATCH_SECONDS = 100.0  # of batches to evaluate with a model that was not trained here
MAX_TOKENIZER_TEXTS = 2**19  # half a million sentences; sentencepiece holds them in memory several times


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start."""

    bundle: Bundle
    train: Sequence[Utterance]
    dev: Sequence[Utterance]
    rejected: SetAside
    train_loader: Loader
    dev_loader: Loader
    canary: Sequence[Utterance]  # none without a canary set
    canary_loader: Loader | None
    training_texts: TrainingTexts | None  # None for a resumed run: its folder holds them
    init_report: InitReport | None = None
    frozen: FrozenParts | None = None

    @property
    def train_hours(self) -> float:
        """Hours of speech an epoch holds, before speed perturbation."""
        return total_seconds(self.train) / 3600


def prepare(
    config: Experiment, say: Callable[[str], None], trained: Bundle | None = None, world: World = ALONE
) -> Prepared:
    """Read the manifests, train the tokenizer, measure CMVN statistics, set unusable rows aside, build the network.

    With `trained`, a bundle of the same experiment, its tokenizer, statistics and weights are taken as they are. The
    loaders are for one rank of `world`.
    Raises AsrError with the file, row or key at fault, and TrainingError when no row is left.
    """
    rows, dev = read_rows(config)
    canary = read_manifest(Path(config.data.canary)) if config.data.canary is not None else []
    if config.augment is not None:
        WaveformAugment(config.augment, sample_rate=16000).check_noise()
    init_report = None
    if trained is not None:
        bundle = trained
    else:
        inherited = inherited_tokenizers(config)
        tokenizers = {
            name: inherited.get(name) or train_tokenizer(tokenizer, tokenizer_texts(config, rows))
            for name, tokenizer in config.tokenizer_configs.items()
        }
        frontend = _fit_frontend(config, rows, tokenizers[MAIN_TOKENIZER], say)
        bundle = Bundle.build(config, frontend, tokenizers, seed=config.seed)
        if config.init_from is not None:
            init_report = init_from(bundle, config.init_from, say)
    if config.lora is not None:
        add_lora(bundle.model, config.lora, config.seed)
    needs, key = requirements(config, bundle), requirements_key(config, bundle)
    found = survey(rows, needs, key=key, texts_as=config.normalize if trained is None else None)
    examples = found.set_aside.examples
    for rejection in examples:
        say(f"set aside {rejection.utterance.id}: {rejection.reason}")
    if len(found.set_aside) > len(examples):
        say(f"set aside {counted(len(found.set_aside) - len(examples), 'more row')}")
    train = found.set_aside.others(rows)
    if not train:
        raise TrainingError(f"{config.data.train}: no row can be learnt from; first reason: {examples[0].reason}")
    if config.data.max_batch_seconds == "auto":
        durations = _max_stretch(config, bundle) * durations_of(train)[np.arange(len(train))]
        config = settle_batch_seconds(bundle, train, durations, world, say)
        bundle = replace(bundle, spec=config)
    return Prepared(
        bundle=bundle,
        train=train,
        dev=dev,
        rejected=found.set_aside,
        train_loader=train_loader(config, train, bundle, read_pieces(config, bundle), world),
        dev_loader=evaluation_loader(config, dev, bundle, num_workers=0, skip_unreadable=True, world=world),
        canary=canary,
        canary_loader=evaluation_loader(config, canary, bundle, num_workers=0, skip_unreadable=True, world=world)
        if canary
        else None,
        training_texts=found.texts,
        init_report=init_report,
        frozen=FrozenParts(config.freeze, bundle.model) if config.freeze is not None else None,
    )


def train_loader(
    config: Experiment,
    utterances: Sequence[Utterance],
    bundle: Bundle,
    pieces: Sequence[Utterance] = (),
    world: World = ALONE,
) -> Loader:
    """Shuffled, augmented batches; utterances are spread over batches by their longest possible duration.

    A rank loads its rows of each.
    """
    augment = WaveformAugment(config.augment, bundle.frontend.sample_rate) if config.augment else None
    dataset = SpeechDataset(
        utterances,
        bundle.frontend,
        bundle.tokenizer,
        config.target_normalizer,
        further_tokenizers={name: bundle.tokenizers[name] for name in config.tokenizers},
        augment=augment,
        spec_augment=SpecAugment(config.spec_augment) if config.spec_augment else None,
        splicer=Splicer(pieces, config.splice.probability) if config.splice else None,
        seed=config.seed,
    )
    sampler = _train_sampler(config, utterances, stretch=augment.max_stretch if augment else 1.0)
    own_rows = RowsOfRank(sampler, durations_of(utterances), world.rank, world.size)
    return Loader(
        dataset,
        own_rows,
        config.data.num_workers,
        num_views=config.loss.num_views,
        pin_memory=world.device.type == "cuda",  # copies to the GPU then overlap with what it computes
        skip_unreadable=True,
    )


def _max_stretch(config: Experiment, bundle: Bundle) -> float:
    """The most that augmentation multiplies a duration by."""
    return WaveformAugment(config.augment, bundle.frontend.sample_rate).max_stretch if config.augment else 1.0


def _train_sampler(config: Experiment, utterances: Sequence[Utterance], stretch: float) -> Sampler:
    data = config.data
    durations, starts = durations_of(utterances), shard_starts(utterances)
    if starts is None:
        sampler = BucketSampler(
            durations,
            max_batch_seconds=data.batch_seconds,
            seed=config.seed,
            num_buckets=data.num_buckets,
            stretch=stretch,
        )
        return (
            CurriculumSampler(sampler, durations, epochs=data.curriculum_epochs) if data.curriculum_epochs else sampler
        )
    if data.curriculum_epochs:
        raise ConfigError(f"{data.train}: shards are read a few at a time; data.curriculum_epochs needs a manifest")
    return ShardSampler(
        durations,
        starts,
        window=data.shuffle_shards,
        max_batch_seconds=data.batch_seconds,
        seed=config.seed,
        num_buckets=data.num_buckets,
        stretch=stretch,
    )


def read_pieces(config: Experiment, bundle: Bundle) -> Sequence[Utterance]:
    """The pieces to chain, those left out that could not be learnt from alone; [] without `splice`."""
    if config.splice is None:
        return []
    pieces = read_manifest(Path(config.splice.pieces))
    usable = check_rows(pieces, requirements(config, bundle)).others(pieces)
    if not any(piece.speaker for piece in usable):
        raise TrainingError(f"{config.splice.pieces}: no piece has a speaker and can be learnt from; cut others")
    return usable


def evaluation_loader(
    config: ModelSpec,
    utterances: Sequence[Utterance],
    bundle: Bundle,
    *,
    num_workers: int,
    max_batch_seconds: float | None = None,
    skip_unreadable: bool = False,
    world: World = ALONE,
) -> Loader:
    """Length-sorted batches without augmentation; the order of results is not that of the manifest.

    A rank gets every `world.size`-th batch.
    """
    dataset = SpeechDataset(utterances, bundle.frontend, bundle.tokenizer, config.normalize)
    sampler = BucketSampler(
        durations_of(utterances),
        max_batch_seconds=max_batch_seconds or batch_seconds_of(config),
        seed=0,
        shuffle=False,
    )
    sampler_of_rank = BatchesOfRank(sampler, world.rank, world.size)
    return Loader(dataset, sampler_of_rank, num_workers, skip_unreadable=skip_unreadable)


def batch_seconds_of(spec: ModelSpec) -> float:
    """Of a model's training, or the default where it was not trained here."""
    return spec.data.batch_seconds if isinstance(spec, Experiment) else DEFAULT_BATCH_SECONDS


def _fit_frontend(
    config: Experiment, rows: Sequence[Utterance], tokenizer: Tokenizer, say: Callable[[str], None]
) -> Frontend:
    """A front-end with CMVN statistics from at most MAX_STATISTICS_UTTERANCES rows, drawn by the seed.

    Rows whose audio gives no features are left out, as they are from training; TrainingError if all are.
    """
    frontend = build_frontend(config.frontend)
    if not frontend.needs_statistics:
        return frontend
    dataset = SpeechDataset(rows, frontend, tokenizer, config.normalize, seed=config.seed)
    left_out: list[str] = []
    features = _readable_features(dataset, _statistics_rows(config, rows), left_out)
    first = next(features, None)
    if first is None:
        raise TrainingError(f"{config.data.train}: no audio can be used; first reason: {left_out[0]}")
    frontend.fit(itertools.chain([first], features))
    for reason in left_out[:NUM_EXAMPLES]:
        say(f"warning: statistics of features go without {reason}")
    if len(left_out) > NUM_EXAMPLES:
        say(f"warning: statistics of features go without {len(left_out) - NUM_EXAMPLES} more rows")
    return frontend


def _readable_features(dataset: SpeechDataset, rows: Iterable[int], left_out: list[str]) -> Iterator[Tensor]:
    """Features (T, F) of rows; `left_out` gets the reasons why others have none."""
    for row in rows:
        try:
            yield dataset.raw_features(int(row))
        except AudioError as error:
            left_out.append(str(error))


def _statistics_rows(config: Experiment, rows: Sequence[Utterance]) -> NDArray[np.int64]:
    """Which rows CMVN statistics are made of: of a sharded corpus from few shards, since each is fetched whole."""
    starts = shard_starts(rows)
    if starts is None:
        return sample_rows(len(rows), MAX_STATISTICS_UTTERANCES, config.seed, "cmvn")
    sizes = np.diff(starts)
    order = np.argsort(derive_rng(config.seed, "cmvn").permutation(np.flatnonzero(sizes)[-1] + 1))
    needed = order[: np.searchsorted(np.cumsum(sizes[order]), MAX_STATISTICS_UTTERANCES) + 1]
    drawn = np.concatenate([np.arange(*starts[shard : shard + 2]) for shard in needed])
    return np.sort(drawn[:MAX_STATISTICS_UTTERANCES])


def tokenizer_texts(config: Experiment, rows: Sequence[Utterance]) -> Iterator[str]:
    """Normalised texts for the tokenizer: all, or of a larger corpus MAX_TOKENIZER_TEXTS, drawn by the seed."""
    if len(rows) <= MAX_TOKENIZER_TEXTS:
        return (normalize(row.text, config.target_normalizer) for row in rows)
    drawn = sample_rows(len(rows), MAX_TOKENIZER_TEXTS, config.seed, "tokenizer")
    return (normalize(rows[int(number)].text, config.target_normalizer) for number in drawn)


def data_hash(config: Experiment) -> str:
    """A hash of ids, texts and durations of all data, the same on every machine."""
    data = config.data
    replayed = data.replay.manifest if data.replay is not None else None
    others = [data.dev if data.dev_share is None else None, data.canary, replayed]
    manifests = [*filter(None, others), *([config.splice.pieces] if config.splice else [])]
    hashes = [read_training_rows(config.data).content_hash, *(manifest_hash(Path(path)) for path in manifests)]
    return "+".join(whole[:16] for whole in hashes)
