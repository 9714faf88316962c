"""Scores of tokens by a word model, against a scorer that spells one hypothesis letter by letter."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch

from asr.errors import LmError
from asr.lm.ngram import ngram_scorer
from asr.lm.ngram.model import NgramModel
from asr.lm.ngram.word_scorer import WordNgramScorer
from tests.foreign_vocabularies import FOREIGN, Pieces, ours

UNK_SCORE = -2.5
TEXT = "an ant ate a bean|a bee ate an ant|be an ant|ant bean|a bean ate a bee|oh|a an|be|bean bee be"
SENTENCES = [line.split() for line in TEXT.split("|")]
PIECES = {
    "characters": "_ a n t e b o h z",
    "subwords": "_a _ n nt te _be an z e _zz ntx",
    "words": "_a _ant _bee _bean _ate _zoo",
}
TOKENIZERS = {name: ours(pieces.replace("_", "\u2581").split()) for name, pieces in PIECES.items()}
BLANK, UNK, SOS, EOS = range(4)


@pytest.fixture(scope="module")
def model(train) -> NgramModel:
    return train(SENTENCES, 3, vocabulary={word for words in SENTENCES for word in words} - {"oh"}).model


class SlowWordScorer:
    """The same scores from strings: the words so far, and the letters of the one that is being written."""

    def __init__(self, model: NgramModel) -> None:
        self.model = model
        self.unknown = float(model.log_probs[model.unk_id]) + UNK_SCORE

    def lookahead(self, letters: str | None) -> float:
        if letters == "":
            return 0.0
        words = [word for word in self.model.words if not word.startswith("<")]
        below = [self.model.id(word) for word in words if letters is not None and word.startswith(letters)]
        return max((float(self.model.log_probs[word]) for word in below), default=self.unknown)

    def total(self, tokenizer: Pieces, tokens: Sequence[int]) -> float:
        """Score of a beginning of a sentence, or of all of one if EOS ends it."""
        score, state, letters = 0.0, self.model.start_state, ""
        for token in tokens:
            piece = tokenizer.vocabulary.piece(token)
            if token == EOS or piece.startswith("\u2581"):
                if letters != "":
                    is_unknown = letters is None or letters not in self.model.words
                    log_prob, state = self.model.score(state, self.model.id("<unk>" if is_unknown else letters))
                    score += log_prob + (UNK_SCORE if is_unknown else 0.0)
                letters = ""
            if token == EOS:
                score += self.model.score(state, self.model.eos_id)[0]
            elif token == UNK:
                letters = None
            else:
                written = piece.removeprefix("\u2581")
                letters = None if letters is None else letters + written
                if written and letters is not None and not any(w.startswith(letters) for w in self.model.words):
                    letters = None
        return score + self.lookahead(letters)


def score_all(scorer: WordNgramScorer, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Scores (N, V) after rows of equally many tokens, accumulated scores of the tokens included."""
    state = scorer.init_state(len(rows), torch.device("cpu"))
    scores, state = scorer.step(torch.full((len(rows),), SOS), state)
    total = torch.zeros(len(rows), 1, dtype=torch.float64)
    for tokens in torch.tensor(rows).T:
        total = total + scores.gather(1, tokens[:, None])
        scores, state = scorer.step(tokens, state)
    return total + scores


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_prefix_and_every_end_scores_as_spelled_out(name: str, model: NgramModel) -> None:
    tokenizer = TOKENIZERS[name]
    slow, scorer = SlowWordScorer(model), WordNgramScorer(model, tokenizer, UNK_SCORE)
    rng = random.Random(3)
    tokens = [UNK, *range(4, tokenizer.vocab_size)]
    for length in range(1, 9):
        rows = [rng.choices(tokens, k=length) for _ in range(12)]
        scores = score_all(scorer, rows)
        assert scores.dtype == torch.float64
        for row, found in zip(rows, scores, strict=True):
            for token in [*tokens, EOS]:
                assert found[token].item() == pytest.approx(slow.total(tokenizer, [*row, token]), abs=1e-9)


def test_a_spelled_sentence_has_exactly_the_score_of_the_model(model: NgramModel) -> None:
    tokenizer = TOKENIZERS["characters"]
    scorer = WordNgramScorer(model, tokenizer, UNK_SCORE)
    for words, num_unknown in ((["an", "ant", "ate"], 0), (["be"], 0), (["oh", "bean", "zzz"], 2)):
        tokens = [tokenizer.vocabulary.id(letter) for letter in "\u2581".join(words)]
        score = score_all(scorer, [tokens])[0, EOS].item()
        assert score == pytest.approx(model.sentence_log_prob(words) + num_unknown * UNK_SCORE, abs=1e-9)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_sentence_has_the_score_of_its_words_in_the_vocabulary_of_any_family(name: str, train) -> None:
    tokenizer = FOREIGN[name]()
    words = list("\u65e5\u672c\u8a9e\u6771") if name == "characters" else ["THE", "HAT", "HEAT", "A"]
    unseen = "\u4eac" if name == "characters" else "HAS"
    rng = random.Random(5)
    model = train([rng.choices(words, k=rng.randint(1, 5)) for _ in range(50)], 2).model
    scorer = WordNgramScorer(model, tokenizer, UNK_SCORE)
    start, end = tokenizer.vocabulary.start, tokenizer.vocabulary.end
    for _ in range(10):
        sentence = rng.choices([*words, unseen], k=rng.randint(1, 6))
        state = scorer.init_state(1, torch.device("cpu"))
        score, last = 0.0, start
        for token in [*tokenizer.encode(" ".join(sentence)), end]:
            scores, state = scorer.step(torch.tensor([last]), state)
            score, last = score + scores[0, token].item(), token
        expected = model.sentence_log_prob(sentence) + sentence.count(unseen) * UNK_SCORE
        assert score == pytest.approx(expected, abs=1e-9)


def test_an_empty_sentence_has_the_score_of_its_end(model: NgramModel) -> None:
    scorer = WordNgramScorer(model, TOKENIZERS["subwords"], UNK_SCORE)
    scores, _ = scorer.step(torch.tensor([SOS]), scorer.init_state(1, torch.device("cpu")))
    assert scores[0, EOS].item() == pytest.approx(model.sentence_log_prob([]), abs=1e-9)


def test_spaces_that_follow_each_other_end_one_word_only(model: NgramModel) -> None:
    tokenizer = TOKENIZERS["characters"]
    scorer = WordNgramScorer(model, tokenizer, UNK_SCORE)
    once, thrice = (
        [tokenizer.vocabulary.id(letter) for letter in text] for text in ("a\u2581an", "a\u2581\u2581\u2581an")
    )
    assert score_all(scorer, [once])[0, EOS].item() == pytest.approx(score_all(scorer, [thrice])[0, EOS].item())


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_row_scores_the_same_alone_permuted_and_after_joining(name: str, model: NgramModel) -> None:
    tokenizer = TOKENIZERS[name]
    scorer = WordNgramScorer(model, tokenizer, UNK_SCORE)
    tokens = torch.randint(4, tokenizer.vocab_size, (5, 7), generator=torch.Generator().manual_seed(1))
    device = torch.device("cpu")
    state = scorer.init_state(7, device)
    alone = [scorer.init_state(1, device) for _ in range(7)]
    for step in (torch.full((7,), SOS), *tokens):
        scores, state = scorer.step(step, state)
        for row in range(7):
            own, alone[row] = scorer.step(step[row : row + 1], alone[row])
            torch.testing.assert_close(own[0], scores[row], rtol=0, atol=1e-9)
    index = torch.tensor([6, 0, 0, 3])
    joined = scorer.concat(scorer.reorder(state, index), scorer.init_state(1, device))
    after, _ = scorer.step(torch.tensor([5, 5, 5, 5, SOS]), joined)
    for place, row in enumerate(index.tolist()):
        own, _ = scorer.step(torch.tensor([5]), alone[row])
        torch.testing.assert_close(own[0], after[place], rtol=0, atol=1e-9)


def test_every_score_that_means_something_is_finite(model: NgramModel) -> None:
    scorer = WordNgramScorer(model, TOKENIZERS["subwords"], UNK_SCORE)
    scores = score_all(scorer, [[UNK, 4], [5, 5], [4, 7]])
    assert torch.isfinite(scores[:, BLANK + 1 :]).all()


def test_a_model_none_of_whose_words_can_be_written_is_refused(train) -> None:
    other = train([["\u0431\u043e\u0431"], ["\u043d\u0435"]], 2).model
    with pytest.raises(LmError, match=r"can write none of its words.*--normalize"):
        ngram_scorer(other, TOKENIZERS["characters"], UNK_SCORE)


def sentence_score(scorer: WordNgramScorer, *tokens: int) -> float:
    return score_all(scorer, [tokens])[0, EOS].item()


def test_words_in_one_case_score_texts_in_another(train, model: NgramModel) -> None:
    tokenizer, sentence = TOKENIZERS["characters"], (4, 5, 6, 4, 5, 7, 8)
    capitals = [[word.upper() for word in words] for words in SENTENCES]
    vocabulary = {word.upper() for word in model.words if not word.startswith("<")}
    scorer = ngram_scorer(train(capitals, 3, vocabulary=vocabulary).model, tokenizer, UNK_SCORE)
    as_written = sentence_score(ngram_scorer(model, tokenizer, UNK_SCORE), *sentence)
    assert sentence_score(scorer, *sentence) == pytest.approx(as_written)


def test_a_model_that_writes_case_and_punctuation_goes_with_words_that_have_neither(train) -> None:
    pieces = '_An _an ant _ANT . _"'
    tokenizer = ours(pieces.replace("_", "\u2581").split())
    title, lower, ant, capitals, point, quote = range(4, 10)
    scorer = ngram_scorer(train(SENTENCES, 2).model, tokenizer, UNK_SCORE)
    expected = sentence_score(scorer, lower, capitals)
    assert sentence_score(scorer, title, capitals) == pytest.approx(expected)
    assert sentence_score(scorer, title, capitals, point) == pytest.approx(expected)
    assert sentence_score(scorer, lower, quote, ant) == pytest.approx(expected)
    exact = ngram_scorer(train([["An", "ant."], ["an", "ANT"]], 2).model, tokenizer, UNK_SCORE)
    assert sentence_score(exact, title, capitals) < sentence_score(exact, lower, capitals)
    assert sentence_score(exact, lower, capitals, point) < sentence_score(exact, lower, capitals)


def test_of_words_that_differ_in_case_alone_the_likelier_one_counts(train) -> None:
    both = train([["an"], ["an"], ["An"], ["bean"]], 1).model
    scorer = ngram_scorer(both, ours(["\u2581AN", "\u2581BEAN"]), UNK_SCORE)
    assert sentence_score(scorer, 4) == pytest.approx(both.sentence_log_prob(["an"]), abs=1e-6)


def test_letters_beyond_ascii_that_bytes_spell_keep_their_case(train) -> None:
    lower = train([["\u00e4hre", "the"], ["the"]], 1).model
    tokenizer = FOREIGN["whisper"]()
    known, unknown = (sentence_of(lower, tokenizer, word) for word in ("\u00e4HRE", "\u00c4HRE"))
    assert known == pytest.approx(lower.sentence_log_prob(["\u00e4hre"]), abs=1e-6)
    assert unknown < known


def sentence_of(model: NgramModel, tokenizer: Pieces, word: str) -> float:
    scorer, tokens = ngram_scorer(model, tokenizer, UNK_SCORE), tokenizer.encode(word)
    state = scorer.init_state(1, torch.device("cpu"))
    scores, state = scorer.step(torch.tensor([tokenizer.vocabulary.start]), state)
    total = 0.0
    for token in (*tokens, tokenizer.vocabulary.end):
        total += scores[0, token].item()
        scores, state = scorer.step(torch.tensor([token]), state)
    return total


def test_a_model_without_words_scores(train) -> None:
    scorer = WordNgramScorer(train(SENTENCES, 2, vocabulary=[]).model, TOKENIZERS["characters"], UNK_SCORE)
    assert torch.isfinite(score_all(scorer, [[5, 6, 4], [4, 4, 7]])).all()


def test_a_step_never_looks_at_values_which_would_stall_a_gpu(model) -> None:
    nowhere = torch.device("meta")  # tensors without values
    scorer = WordNgramScorer(model, TOKENIZERS["subwords"], UNK_SCORE)
    scores, state = scorer.step(torch.full((6,), SOS, device=nowhere), scorer.init_state(6, nowhere))
    scores, state = scorer.step(torch.full((6,), 4, device=nowhere), state)
    assert scores.shape == (6, TOKENIZERS["subwords"].vocab_size)
