"""Language modelling as a training task: negative log-likelihood of sentences, perplexity on the dev set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path

import torch
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.bundle.lm import LmBundle
from asr.bundle.store import find_model
from asr.config import LmDataConfig, LmExperiment, TextConfig, load_lm_experiment
from asr.data.ranks import BatchesOfRank, RowsOfRank
from asr.data.sampler import BucketSampler, RememberingSampler
from asr.data.sentences import Sentence, SentenceBatch, collate_sentences, read_sentences, texts_hash
from asr.errors import TrainingError
from asr.experiments.ready import Kind, Ready, num_parameters, steps_per_epoch
from asr.losses.label_smoothing import label_smoothing_loss
from asr.system.display import counted
from asr.training.compile import uncompiled
from asr.training.distributed import ALONE, World
from asr.training.metrics import PERPLEXITY, TOKENS, Metric
from asr.training.task import LossOutput, StepDraws


class LmTask:
    """Trains the network of a bundle and keeps the bundle's folder up to date.

    A step's loss is divided by the tokens that its sentences make the network predict, ends included. Were it divided
    by sentences, a step of short ones would count less, and the gradient's norm would follow the length of the text.
    """

    metric = PERPLEXITY
    other_metrics: Sequence[Metric] = ()
    unit = TOKENS
    item = "token"
    loss_parts: Sequence[str] = ()
    waited_seconds = 0.0  # the sentences are in memory

    def __init__(
        self,
        bundle: LmBundle,
        train: Sequence[Sentence],
        dev: Sequence[Sentence],
        folder: Path,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        self.bundle = bundle
        self.model = bundle.model.to(device)
        self.folder = folder
        self.device = device
        self._train, self._dev = train, dev
        eos = bundle.tokenizer.vocabulary.eos
        assert eos is not None, "a language model predicts where a sentence ends"
        self._eos = eos
        self._world = world
        sampler = _sampler(train, bundle.config.data, bundle.config.seed, shuffle=True)
        self._train_sampler = RememberingSampler(RowsOfRank(sampler, sampler.durations, world.rank, world.size))
        sampler = _sampler(dev, bundle.config.data, bundle.config.seed, shuffle=False)
        self._dev_sampler = BatchesOfRank(sampler, world.rank, world.size)

    def batches(self, epoch: int, start: int) -> Iterable[SentenceBatch]:
        """Training batches of an epoch from position `start`, on the device; a function of (seed, epoch)."""
        batches = self._train_sampler.batches(epoch)
        return self._load(self._train, (batches[number] for number in range(start, len(batches))))

    def num_batches(self, epoch: int) -> int:
        """How many training batches an epoch has."""
        return len(self._train_sampler.batches(epoch))

    def loss(self, batch: SentenceBatch, draws: StepDraws) -> LossOutput:
        """Negative log-likelihood of a batch, summed over its tokens and the ends of its sentences."""
        losses = self._losses(batch)
        return LossOutput(losses.sum(), losses.detach())

    def _losses(self, batch: SentenceBatch) -> Tensor:
        """Of each sentence, (B,)."""
        log_probs = self.model(batch.tokens, batch.token_lens)
        return label_smoothing_loss(log_probs, batch.tokens, batch.token_lens, smoothing=0.0, eos=self._eos)

    def count(self, batch: SentenceBatch) -> int:
        """The tokens to predict, ends included."""
        return batch.num_predictions

    def amount(self, batch: SentenceBatch) -> float:
        """The tokens to predict, ends included."""
        return batch.num_predictions

    def num_utterances(self, batch: SentenceBatch) -> int:
        """The sentences."""
        return len(batch.ids)

    def split(self, batch: SentenceBatch, sizes: Sequence[int]) -> list[SentenceBatch]:
        """Parts of so many sentences each, as padded as they were."""
        return [batch.rows(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]

    def validate(self) -> dict[str, float]:
        """Perplexity of the dev texts: exp of the mean negative log-likelihood of a token, ends included.

        Each rank reads batches of its own.
        """
        was_training = self.model.training
        self.model.eval()
        own: list[tuple[float, int]] = []  # of each batch
        with uncompiled(self.model), torch.inference_mode():
            for batch in self._load(self._dev, self._dev_sampler.batches(0)):
                own.append((float(self._losses(batch).sum(dtype=torch.float64)), batch.num_predictions))
        self.model.train(was_training)
        by_rank = self._world.all_gather(own)
        # in the sampler's order, so that the sum is the same to the last digit whatever the number of ranks
        batches = [batch for turn in zip_longest(*by_rank) for batch in turn if batch is not None]
        total, count = (sum(column) for column in zip(*batches, strict=True))
        return {"perplexity": math.exp(total / count)}

    def keep(self, weights: dict[str, Tensor]) -> None:
        """Write the model folder with these weights."""
        self.model.load_state_dict(weights)
        self.bundle.save(self.folder)

    def _load(self, sentences: Sequence[Sentence], batches: Iterable[Sequence[int]]) -> Iterable[SentenceBatch]:
        return (collate_sentences([sentences[index] for index in batch]).to(self.device) for batch in batches)


def _sampler(sentences: Sequence[Sentence], config: LmDataConfig, seed: int, *, shuffle: bool) -> BucketSampler:
    """Batches by the number of tokens to predict."""
    return BucketSampler(
        [len(sentence.tokens) + 1 for sentence in sentences],
        max_batch_seconds=config.max_batch_tokens,
        seed=seed,
        num_buckets=config.num_buckets,
        shuffle=shuffle,
    )


def begin(config: LmExperiment, out: Path, world: World, say: Callable[[str], None]) -> Ready:
    """A task with fresh weights; tokenizer and normaliser are those of the acoustic model it names."""
    acoustic = Bundle.load(find_model(config.model))
    text = TextConfig(normalize=acoustic.spec.normalize, tokenizer=acoustic.spec.tokenizer)
    bundle = LmBundle.build(config.model_copy(update={"text": text}), acoustic.tokenizer)
    ready = _ready(bundle, out, world, say)
    bundle.save(out)
    return ready


def resume(_config: LmExperiment, out: Path, world: World, say: Callable[[str], None]) -> Ready:
    """The task of the model in a folder; the acoustic model is not needed."""
    return _ready(LmBundle.load(out), out, world, say)


def _ready(bundle: LmBundle, out: Path, world: World, say: Callable[[str], None]) -> Ready:
    train, dev = _read_texts(bundle, say)
    task = LmTask(bundle, train, dev, out, world.device, world)
    return Ready(
        task=task,
        config=bundle.config,
        description=_describe(task, train, dev),
        odd_loss=lambda: task.loss(next(iter(task.batches(0, 0))), StepDraws(bundle.config.seed, 0)).total,
    )


def _data_hash(config: LmExperiment) -> str:
    return texts_hash([Path(file) for file in (*config.data.train, *config.data.dev)])[:16]


def _read_texts(bundle: LmBundle, say: Callable[[str], None]) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences to learn from and those to measure perplexity with; too long ones are left out of the former."""
    config, text = bundle.config, bundle.config.text
    assert text is not None
    sentences, dev = (
        read_sentences([Path(file) for file in files], bundle.tokenizer, text.normalize)
        for files in (config.data.train, config.data.dev)
    )
    train = [sentence for sentence in sentences if len(sentence.tokens) < config.data.max_tokens]
    if len(train) < len(sentences):
        too_long = counted(len(sentences) - len(train), "sentence")
        say(f"set aside {too_long} longer than data.max_tokens {config.data.max_tokens}")
    if not train:
        raise TrainingError(f"all sentences are longer than data.max_tokens {config.data.max_tokens}; raise it")
    unk = bundle.tokenizer.vocabulary.unk
    unknown = sum(int((sentence.tokens == unk).sum()) for sentence in train) if unk is not None else 0
    if unknown:
        say(f"warning: {counted(unknown, 'token')} of the training texts unknown to the tokenizer of {config.model}")
    return train, dev


def _describe(task: LmTask, train: Sequence[Sentence], dev: Sequence[Sentence]) -> str:
    """Sentences, tokens, parameters and steps in one line."""
    config = task.bundle.config
    assert config.text is not None
    num_tokens = sum(len(sentence.tokens) for sentence in train)
    return (
        f"{counted(len(train), 'sentence')} with {counted(num_tokens, 'token')}, {len(dev)} dev; "
        f"{task.bundle.tokenizer.vocab_size} different tokens ({config.text.tokenizer.name}); "
        f"{num_parameters(task.model) / 1e6:.2f} M parameters; "
        f"{counted(steps_per_epoch(task.num_batches(0), config), 'step')} an epoch"
    )


LANGUAGE_MODEL = Kind(
    command=("asr", "lm", "train", "--neural"),
    noun="language model",
    load=load_lm_experiment,
    data_hash=_data_hash,
    begin=begin,
    resume=resume,
)
