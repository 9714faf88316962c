"""Language modelling as a training task: negative log-likelihood of sentences, perplexity on the dev set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from asr.bundle import LmBundle
from asr.config import LmDataConfig
from asr.data.sampler import BucketSampler, RememberingSampler
from asr.data.sentences import Sentence, SentenceBatch, collate_sentences
from asr.losses.joint import LossOutput
from asr.losses.label_smoothing import label_smoothing_loss
from asr.training.metrics import PERPLEXITY, TOKENS


class LmTask:
    """Trains the network of a bundle and keeps the bundle's folder up to date.

    A step's loss is divided by the tokens that its sentences make the network predict, ends included. Were it divided
    by sentences, a step of short ones would count less, and the gradient's norm would follow the length of the text.
    """

    metric = PERPLEXITY
    unit = TOKENS
    item = "token"

    def __init__(
        self, bundle: LmBundle, train: Sequence[Sentence], dev: Sequence[Sentence], folder: Path, device: torch.device
    ) -> None:
        self.bundle = bundle
        self.model = bundle.model.to(device)
        self.folder = folder
        self.device = device
        self._train, self._dev = train, dev
        self._train_sampler = RememberingSampler(_sampler(train, bundle.config.data, bundle.config.seed, shuffle=True))
        self._dev_sampler = _sampler(dev, bundle.config.data, bundle.config.seed, shuffle=False)

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
        per_sentence = label_smoothing_loss(log_probs, batch.tokens, batch.token_lens, smoothing=0.0)
        return LossOutput(per_sentence.sum(), batch.num_predictions, {}, per_sentence.detach())

    def count(self, batch: SentenceBatch) -> int:
        """The tokens to predict, ends included."""
        return batch.num_predictions

    def amount(self, batch: SentenceBatch) -> float:
        """The tokens to predict, ends included."""
        return batch.num_predictions

    def validate(self) -> dict[str, float]:
        """Perplexity of the dev texts: exp of the mean negative log-likelihood of a token, ends included."""
        was_training = self.model.training
        self.model.eval()
        total, count = 0.0, 0
        with torch.inference_mode():
            for batch in self._load(self._dev, self._dev_sampler.batches(0)):
                output = self.loss(batch)
                total += float(output.per_utterance.sum(dtype=torch.float64))
                count += output.count
        self.model.train(was_training)
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
