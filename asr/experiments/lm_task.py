"""Language modelling as a training task: negative log-likelihood of sentences, perplexity on the dev set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path

import torch
from torch import Tensor

from asr.bundle.lm import LmBundle
from asr.config import LmDataConfig
from asr.data.ranks import BatchesOfRank, RowsOfRank
from asr.data.sampler import BucketSampler, RememberingSampler
from asr.data.sentences import Sentence, SentenceBatch, collate_sentences
from asr.losses.label_smoothing import label_smoothing_loss
from asr.training.compile import uncompiled
from asr.training.distributed import ALONE, World
from asr.training.metrics import PERPLEXITY, TOKENS
from asr.training.task import LossOutput


class LmTask:
    """Trains the network of a bundle and keeps the bundle's folder up to date.

    A step's loss is divided by the tokens that its sentences make the network predict, ends included. Were it divided
    by sentences, a step of short ones would count less, and the gradient's norm would follow the length of the text.
    """

    metric = PERPLEXITY
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

    def loss(self, batch: SentenceBatch) -> LossOutput:
        """Negative log-likelihood of a batch, summed over its tokens and the ends of its sentences."""
        log_probs = self.model(batch.tokens, batch.token_lens)
        per_sentence = label_smoothing_loss(log_probs, batch.tokens, batch.token_lens, smoothing=0.0, eos=self._eos)
        return LossOutput(per_sentence.sum(), per_sentence.detach())

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
                output = self.loss(batch)
                own.append((float(output.per_utterance.sum(dtype=torch.float64)), batch.num_predictions))
        self.model.train(was_training)
        by_rank = self._world.gather(own)
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
