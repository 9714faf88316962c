"""Trained models against the formula of Chen & Goodman, written down once more with dictionaries."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from asr.errors import LmError
from asr.lm.ngram import counts as counts_module
from asr.lm.ngram.counts import IdCorpus
from asr.lm.ngram.kneser_ney import FALLBACK_DISCOUNTS, estimate
from asr.lm.ngram.model import NgramModel

Ngram = tuple[str, ...]


class SlowModel:
    """Interpolated modified Kneser-Ney, straight from the formula."""

    def __init__(
        self, sentences: Sequence[Sequence[str]], order: int, prune: Sequence[int], vocabulary: Iterable[str] | None
    ) -> None:
        known = set(itertools.chain(*sentences)) if vocabulary is None else set(vocabulary)
        marked = [["<s>", *(word if word in known else "<unk>" for word in words), "</s>"] for words in sentences]
        self.order, self.thresholds = order, [*prune, *[prune[-1]] * order]
        self.words = sorted(known | {"<unk>", "</s>"})
        self.raw = Counter(
            tuple(words[start : start + n])
            for words in marked
            for n in range(1, order + 1)
            for start in range(len(words) - n + 1)
        )
        self.before: dict[Ngram, set[str]] = defaultdict(set)
        for ngram in self.raw:
            self.before[ngram[1:]].add(ngram[0])
        self.discounts = [self.estimate(n) for n in range(1, order + 1)]

    def count(self, ngram: Ngram) -> int:
        if ngram == ("<s>",):
            return 0
        if len(ngram) == self.order or ngram[0] == "<s>":
            return self.raw[ngram]
        return len(self.before[ngram])

    def estimate(self, n: int) -> tuple[float, ...]:
        with_count = Counter(self.count(ngram) for ngram in self.raw if len(ngram) == n)
        n1, n2, n3, n4 = (with_count[count] for count in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return FALLBACK_DISCOUNTS
        y = n1 / (n1 + 2 * n2)
        discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return discounts if min(discounts) > 0 else FALLBACK_DISCOUNTS

    def taken(self, ngram: Ngram) -> float:
        if self.raw[ngram] <= self.thresholds[len(ngram) - 1]:
            return self.count(ngram)
        return self.discounts[len(ngram) - 1][min(self.count(ngram), 3) - 1] if self.count(ngram) else 0.0

    def probability(self, history: Ngram, word: str) -> float:
        history = history[-(self.order - 1) :] if self.order > 1 else ()
        shorter = self.probability(history[1:], word) if history else 1 / len(self.words)
        followers = [(*history, follower) for follower in self.words if self.raw[*history, follower]]
        if not any(self.raw[ngram] > self.thresholds[len(ngram) - 1] for ngram in followers):
            return shorter
        total = sum(map(self.count, followers))
        ngram = (*history, word)
        own = self.count(ngram) - self.taken(ngram) if ngram in followers else 0.0
        return own / total + sum(map(self.taken, followers)) / total * shorter


def state_after(model: NgramModel, history: Ngram) -> int:
    state = model.start_state if history[:1] == ("<s>",) else 0
    for word in history[history[:1] == ("<s>",) :]:
        _, state = model.score(state, model.id(word))
    return state


def histories(slow: SlowModel) -> list[Ngram]:
    """Every history of up to order - 1 words, also those that never occurred."""
    words = [word for word in slow.words if word != "</s>"]
    inner = [words_ for n in range(slow.order) for words_ in itertools.product(words, repeat=n)]
    return inner + [("<s>", *words_) for words_ in inner if len(words_) < slow.order - 1]


corpora = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), min_size=1, max_size=25)


@given(
    sentences=corpora,
    order=st.integers(1, 3),
    thresholds=st.lists(st.integers(0, 2), max_size=2),
    vocabulary=st.none() | st.sets(st.sampled_from("abz"), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_every_probability_follows_the_formula_and_sums_to_one(
    train, sentences, order: int, thresholds: list[int], vocabulary: set[str] | None
) -> None:
    prune = [0, *sorted(thresholds)][:order]
    try:
        model = train(sentences, order, prune, vocabulary).model
    except LmError:  # nothing survives pruning, or no sentence is long enough
        reject()
    slow = SlowModel(sentences, order, prune, vocabulary)
    assert set(model.words) == {*slow.words, "<s>"}
    for history in histories(slow):
        state = state_after(model, history)
        found = {word: math.exp(model.score(state, model.id(word))[0]) for word in slow.words}
        assert sum(found.values()) == pytest.approx(1.0, abs=1e-5)
        for word in slow.words:
            assert found[word] == pytest.approx(slow.probability(history, word), rel=1e-5), (history, word)


def zipf_sentences(seed: int, num_sentences: int) -> list[list[str]]:
    rng = random.Random(seed)
    words = [chr(97 + index) for index in range(20)]
    weights = [1 / (1 + index) for index in range(20)]
    return [rng.choices(words, weights, k=rng.randint(1, 12)) for _ in range(num_sentences)]


def test_discounts_come_from_counts_of_counts_and_fit_the_formula(train) -> None:
    sentences = zipf_sentences(2, 150)
    trained = train(sentences, 4, (0, 0, 1))
    slow = SlowModel(sentences, 4, (0, 0, 1), None)
    assert not any(order.is_fallback for order in trained.orders[1:3])
    for order, discounts in zip(trained.orders, slow.discounts, strict=True):
        assert order.discounts == pytest.approx(discounts, abs=1e-12)
    rng = random.Random(3)
    for history in [tuple(rng.choices(slow.words[2:], k=3)) for _ in range(20)]:
        log_prob, _ = trained.model.score(state_after(trained.model, history), trained.model.id("b"))
        assert log_prob == pytest.approx(math.log(slow.probability(history, "b")), abs=1e-5)


def test_a_corpus_counts_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = zipf_sentences(4, 60)
    with IdCorpus(sentences) as corpus:
        whole = corpus.count(4)
    monkeypatch.setattr(counts_module, "BLOCK", 7)
    with IdCorpus(sentences) as corpus:
        pieces = corpus.count(4)
    assert whole.words == pieces.words
    for one, other in zip(whole.keys + whole.counts, pieces.keys + pieces.counts, strict=True):
        assert (one == other).all()


def test_words_outside_the_vocabulary_are_counted_as_unknown(train) -> None:
    model = train([["a", "b"], ["a", "c"], ["a", "b"]], 2, vocabulary=["a", "b"]).model
    assert model.words == ("<unk>", "<s>", "</s>", "a", "b")
    after_a = state_after(model, ("a",))
    unknown, _ = model.score(after_a, model.unk_id)
    assert unknown > model.score(0, model.unk_id)[0]
    assert math.exp(model.score(0, model.unk_id)[0]) > 1 / 4 / 4


def test_the_most_frequent_words_are_chosen_and_equals_by_alphabet() -> None:
    with IdCorpus([["b", "c", "a"], ["c", "d"], ["<unk>", "<unk>", "<unk>"]]) as corpus:
        assert corpus.most_frequent(2) == ["c", "a"]
        assert corpus.most_frequent(9, among={"d", "b", "x"}) == ["b", "d"]


@pytest.mark.parametrize(
    ("prune", "complaint"),
    [((1,), "begin with 0"), ((0, 2, 1), "never fall"), ((), "begin with 0"), ((0, 0, 0, 1), "too many")],
)
def test_impossible_thresholds_are_refused(prune: tuple[int, ...], complaint: str) -> None:
    with IdCorpus([["a", "b"]]) as corpus, pytest.raises(LmError, match=complaint):
        estimate(corpus.count(3), prune)


def test_an_order_that_no_sentence_reaches_is_refused() -> None:
    with IdCorpus([["a"]]) as corpus, pytest.raises(LmError, match="lower the order to 3"):
        corpus.count(4)


def test_a_corpus_without_words_is_refused() -> None:
    with pytest.raises(LmError, match="no text"):
        IdCorpus([[], []])


def test_a_small_corpus_gets_fallback_discounts_with_a_warning() -> None:
    with IdCorpus([["a", "b"]]) as corpus, pytest.warns(UserWarning, match="too little text, or too regular"):
        trained = estimate(corpus.count(2))
    assert [order.discounts for order in trained.orders] == [FALLBACK_DISCOUNTS] * 2
