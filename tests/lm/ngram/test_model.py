"""The automaton of a model."""

from __future__ import annotations

import itertools
import math

import pytest

from asr.lm.ngram.model import perplexity

SENTENCES = [line.split() for line in ("a b c", "b b a", "c a b", "a", "b c a b c")]


def test_states_are_the_longest_known_suffixes(train) -> None:
    model = train(SENTENCES, 3).model
    after = {(): 0}
    for length in (1, 2, 3, 4):
        for words in itertools.product("abc", repeat=length):
            _, after[words] = model.score(after[words[:-1]], model.id(words[-1]))
    text = [" ".join(words) for words in SENTENCES]
    for words, state in after.items():
        longest = next(
            words[start:]
            for start in range(max(len(words) - 2, 0), len(words) + 1)
            if any(f" {' '.join(words[start:])} ".rstrip() in f" {line} " for line in text)
        )
        assert state == after[longest], words
        if longest:
            assert model.shorter[state] == after[longest[1:]]


def test_arcs_of_the_empty_history_are_the_words_in_order(train) -> None:
    model = train(SENTENCES, 3).model
    assert model.labels[: model.begins[1]].tolist() == list(range(len(model.words)))
    assert model.begins[-1] == len(model.labels)
    for begin, end in itertools.pairwise(model.begins.tolist()):
        assert (model.labels[begin + 1 : end] > model.labels[begin : end - 1]).all()


def test_a_sentence_scores_word_by_word_to_its_end(train) -> None:
    model = train(SENTENCES, 2).model
    first, state = model.score(model.start_state, model.id("a"))
    unknown, state = model.score(state, model.id("zebra"))
    assert model.sentence_log_prob(["a", "zebra"]) == first + unknown + model.score(state, model.eos_id)[0]


def test_perplexity_with_and_without_unknown_words(train) -> None:
    model = train(SENTENCES, 1).model
    found = perplexity(model, [["a", "zebra"], ["b"]])
    a, b, unk, eos = (float(model.log_probs[model.id(word)]) for word in ("a", "b", "<unk>", "</s>"))
    assert found.total == pytest.approx(math.exp(-(a + b + unk + 2 * eos) / 5))
    assert found.known == pytest.approx(math.exp(-(a + b + 2 * eos) / 4))
    assert found.unknown_rate == pytest.approx(1 / 3)
