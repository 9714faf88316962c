"""Sentence scores equal those of KenLM, where it is installed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from asr.lm.ngram.arpa import LN10, read_arpa, write_arpa


@pytest.mark.parametrize(("order", "prune"), [(2, (0,)), (3, (0,)), (3, (0, 0, 1)), (4, (0,)), (4, (0, 1, 1, 2))])
def test_sentences_score_as_in_kenlm(train, tmp_path: Path, order: int, prune: tuple[int, ...]) -> None:
    kenlm = pytest.importorskip("kenlm")
    rng = random.Random(11)
    words = [f"w{index}" for index in range(30)]
    weights = [1 / (1 + index) for index in range(30)]
    sentences = [rng.choices(words, weights, k=rng.randint(1, 15)) for _ in range(400)]
    path = tmp_path / "lm.arpa"
    write_arpa(path, train(sentences[:300], order, prune, vocabulary=words[:-4]).model)
    ours, theirs = read_arpa(path), kenlm.Model(str(path))
    for sentence in [[], ["never", "w0"], *sentences[300:]]:
        assert ours.sentence_log_prob(sentence) / LN10 == pytest.approx(theirs.score(" ".join(sentence)), abs=1e-4)
