"""The letter trie of a model's words."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asr.lm.ngram.lexicon import SINK, UNKNOWN_LETTER, LetterTrie, Lexicon
from tests.foreign_vocabularies import ours

TOKENIZER = ours(("\u2581", "\u2581ba", "d", "bx"))


def child(lexicon: Lexicon, node: int, letter: str) -> int:
    """The node one letter on, found by looking at all children."""
    edges = range(lexicon.child_begins[node], lexicon.child_begins[node + 1])
    found = [lexicon.child_nodes[edge] for edge in edges if lexicon.letters[lexicon.child_letters[edge]] == letter]
    return found[0] if found else SINK


def test_words_are_found_letter_by_letter_with_the_best_word_below(train) -> None:
    sentences = [["bad", "bat", "bat"], ["bat", "cat"], ["ba"]]
    model = train(sentences, 1).model
    lexicon = Lexicon.build(model, TOKENIZER)
    prefixes = {word[:end] for word in ("bad", "bat", "cat", "ba") for end in range(1, 4)}
    assert lexicon.num_nodes == len(prefixes | {""})
    for prefix in prefixes:
        node = 0
        for letter in prefix:
            node = child(lexicon, node, letter)
        below = [model.id(word) for word in ("bad", "bat", "cat", "ba") if word.startswith(prefix)]
        assert lexicon.lookahead[node] == model.log_probs[below].max()
        assert lexicon.word_ids[node] == (model.id(prefix) if prefix in model.words else -1)
    assert lexicon.lookahead[0] == 0.0
    assert child(lexicon, 0, "t") == SINK


def test_tokens_write_the_letters_of_their_pieces(train) -> None:
    lexicon = Lexicon.build(train([["bad"]], 1).model, TOKENIZER)
    written = [
        [lexicon.letters[letter] if letter != UNKNOWN_LETTER else "?" for letter in letters]
        for letters in np.split(lexicon.token_letters, lexicon.token_begins[1:-1])
    ]
    assert written[TOKENIZER.vocabulary.unk] == ["?"]
    assert written == [[], ["?"], [], [], [], ["b", "a"], ["d"], ["b", "?"]]
    assert lexicon.opens_word.tolist() == [False, False, False, False, True, True, False, False]


@given(st.lists(st.text("abc", max_size=6), min_size=1, max_size=12))
def test_a_trie_has_one_node_for_each_prefix_and_leads_strings_to_their_ends(strings: list[str]) -> None:
    begins = np.append(0, np.cumsum([len(string) for string in strings]))
    letters = np.array([ord(letter) - ord("a") for string in strings for letter in string], dtype=np.int64)
    trie = LetterTrie.build(letters, begins, 3)
    spelled = [""]
    for node in range(1, trie.num_nodes):
        spelled.append(spelled[trie.parents[node]] + "abc"[trie.child_letters[node - 1]])
    assert sorted(spelled) == sorted({string[:end] for string in strings for end in range(len(string) + 1)})
    assert [spelled[end] for end in trie.ends] == strings
    depths = [len(prefix) for prefix in spelled]
    assert depths == sorted(depths)
    assert trie.level_begins.tolist() == [depths.index(depth) for depth in range(max(depths) + 1)] + [len(depths)]
