"""Fixtures for n-gram tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import pytest

from asr.lm.ngram.counts import IdCorpus
from asr.lm.ngram.kneser_ney import Estimate, estimate

Train = Callable[..., Estimate]


@pytest.fixture(scope="session")
def train() -> Train:
    """Train a model on a few sentences, without the warning that they are few."""

    def run(
        sentences: Iterable[Sequence[str]],
        order: int,
        prune: Sequence[int] = (0,),
        vocabulary: Iterable[str] | None = None,
    ) -> Estimate:
        with IdCorpus(sentences) as corpus, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return estimate(corpus.count(order, vocabulary), prune)

    return run
