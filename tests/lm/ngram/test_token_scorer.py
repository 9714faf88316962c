"""Scores of tokens by a model over the same tokens, against the readable automaton."""

from __future__ import annotations

import random

import pytest
import torch

from asr.errors import LmError
from asr.lm.ngram import ngram_scorer
from asr.lm.ngram.arpa import read_arpa, write_arpa
from asr.lm.ngram.token_scorer import TokenNgramScorer
from asr.lm.ngram.word_scorer import WordNgramScorer
from tests.foreign_vocabularies import FOREIGN, ours

TOKENIZER = ours(("\u2581a", "b", "\u2581b", "c", "\u2581never"))
VOCABULARY = TOKENIZER.vocabulary
UNK, SOS, EOS = VOCABULARY.unk, VOCABULARY.sos, VOCABULARY.eos
RNG = random.Random(1)
SENTENCES = [RNG.choices(VOCABULARY.pieces[4:8], k=RNG.randint(1, 8)) for _ in range(40)]


@pytest.fixture(scope="module")
def model(train):
    return train(SENTENCES, 4, (0, 0, 0, 1)).model


def test_every_token_scores_as_the_automaton_says(model) -> None:
    scorer = TokenNgramScorer(model, VOCABULARY)
    rows = torch.randint(4, len(VOCABULARY), (9, 6), generator=torch.Generator().manual_seed(2))
    rows[0, 2] = UNK
    state = scorer.init_state(9, torch.device("cpu"))
    automaton = [model.start_state] * 9
    for step in (torch.full((9,), SOS), *rows.T):
        scores, state = scorer.step(step, state)
        assert scores.dtype == torch.float64
        for row, token in enumerate(step.tolist()):
            if token != SOS:
                _, automaton[row] = model.score(automaton[row], model.id(VOCABULARY.piece(token)))
            for token in (UNK, EOS, *range(4, len(VOCABULARY))):
                expected, _ = model.score(automaton[row], model.id(VOCABULARY.piece(token)))
                assert scores[row, token].item() == pytest.approx(expected, abs=1e-9)


def test_rows_can_be_permuted_dropped_repeated_and_joined(model) -> None:
    scorer = TokenNgramScorer(model, VOCABULARY)
    device = torch.device("cpu")
    _, state = scorer.step(torch.full((3,), SOS), scorer.init_state(3, device))
    whole, state = scorer.step(torch.tensor([4, 5, 6]), state)
    index = torch.tensor([2, 2, 0])
    joined = scorer.concat(scorer.reorder(state, index), scorer.init_state(1, device))
    scores, _ = scorer.step(torch.tensor([7, 5, 7, SOS]), joined)
    for place, (row, token) in enumerate(zip(index.tolist(), (7, 5, 7), strict=True)):
        alone, _ = scorer.step(torch.tensor([token]), state[row : row + 1])
        assert torch.equal(alone[0], scores[place])
    assert whole.shape == (3, len(VOCABULARY))


def test_models_of_pieces_and_of_words_get_their_own_scorer(model, train) -> None:
    assert isinstance(ngram_scorer(model, TOKENIZER, -1.0), TokenNgramScorer)
    assert isinstance(ngram_scorer(train([["ab", "b"]], 2).model, TOKENIZER, -1.0), WordNgramScorer)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_model_of_pieces_or_of_words_is_known_for_what_it_is_in_any_family(name: str, train, tmp_path) -> None:
    tokenizer = FOREIGN[name]()
    text = "\u65e5\u672c\u8a9e" if name == "characters" else "THE HAT HEATS THE TEA"
    pieces = [tokenizer.vocabulary.piece(token) for token in tokenizer.encode(text)]
    path = tmp_path / "pieces.arpa"
    write_arpa(path, train([pieces] * 5, 2).model)
    of_pieces = read_arpa(path)
    scorer = ngram_scorer(of_pieces, tokenizer, -1.0)
    assert isinstance(scorer, TokenNgramScorer)
    state, last, score = scorer.init_state(1, torch.device("cpu")), tokenizer.vocabulary.start, 0.0
    for token in [*tokenizer.encode(text), tokenizer.vocabulary.end]:
        scores, state = scorer.step(torch.tensor([last]), state)
        score, last = score + scores[0, token].item(), token
    assert score == pytest.approx(of_pieces.sentence_log_prob(pieces), abs=1e-9)
    if name != "characters":
        of_words = train([["THE", "HAT", "A"]] * 5, 2).model
        assert isinstance(ngram_scorer(of_words, tokenizer, -1.0), WordNgramScorer)
        with pytest.raises(LmError, match="--tokens"):
            ngram_scorer(train([["the", "hat"]] * 5, 2).model, ours(("\u2581", "A")), -1.0)


def test_a_model_of_other_pieces_is_refused(train) -> None:
    with pytest.raises(LmError, match="--tokens"):
        ngram_scorer(train([["\u2581x", "y"]], 2).model, TOKENIZER, -1.0)


def test_a_step_never_looks_at_values_which_would_stall_a_gpu(model) -> None:
    nowhere = torch.device("meta")  # tensors without values
    scorer = TokenNgramScorer(model, VOCABULARY)
    scores, state = scorer.step(torch.full((6,), SOS, device=nowhere), scorer.init_state(6, nowhere))
    scores, state = scorer.step(torch.full((6,), 4, device=nowhere), state)
    assert scores.shape == (6, len(VOCABULARY))
