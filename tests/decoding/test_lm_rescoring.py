"""N-best rescoring: every hypothesis gets the language model's own log-probability, and the order follows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from asr.decoding.base import Prompt
from asr.decoding.lm_rescoring import LmRescored, sentence_scores
from asr.decoding.whole import WholeSearch
from asr.lm.neural import LANGUAGE_MODELS, build_language_model
from asr.lm.neural.scorer import NeuralLmScorer
from asr.types import EncoderOutput, Hypothesis
from tests.foreign_vocabularies import ours

VOCABULARY = ours("ABCDE").vocabulary
SENTENCES = [(4, 5, 6), (), (8,), (4, 5, 5, 7, 8, 4), (6, 6)]


class Fixed(WholeSearch):
    """A search that knows its answers, by the numbers of frames."""

    vocabulary = VOCABULARY

    def __init__(self, n_best_lists: list[list[Hypothesis]]) -> None:
        self.n_best_lists = n_best_lists

    def decode(self, encoded: EncoderOutput, prompts: Sequence[Prompt]) -> list[list[Hypothesis]]:
        return [self.n_best_lists[int(row)] for row in encoded.lens]


def make_scorer(name: str) -> NeuralLmScorer:
    torch.manual_seed(5)
    return NeuralLmScorer(build_language_model(LANGUAGE_MODELS.config(name).tiny(), VOCABULARY).double())


def log_probability(scorer: NeuralLmScorer, sentence: tuple[int, ...]) -> float:
    """By teacher forcing of one sentence."""
    tokens = torch.tensor([sentence], dtype=torch.int64)
    with torch.inference_mode():
        log_probs = scorer.model(tokens, torch.tensor([len(sentence)]))[0]
    return sum(float(log_probs[position, token]) for position, token in enumerate((*sentence, VOCABULARY.eos)))


def encoded_for(*rows: int) -> EncoderOutput:
    return EncoderOutput(torch.zeros(len(rows), 1, 1, dtype=torch.float64), torch.tensor(rows))


@pytest.mark.parametrize("name", LANGUAGE_MODELS.names())
def test_scores_of_sentences_are_those_of_teacher_forcing_one_by_one(name: str) -> None:
    scorer = make_scorer(name)
    expected = [log_probability(scorer, sentence) for sentence in SENTENCES]
    assert sentence_scores(scorer, SENTENCES, VOCABULARY, torch.device("cpu")) == pytest.approx(expected, rel=1e-9)
    assert sentence_scores(scorer, [], VOCABULARY, torch.device("cpu")) == []


def n_best_lists() -> list[list[Hypothesis]]:
    return [
        [
            Hypothesis((4, 5, 6), -3.0, {"ctc": -2.0, "lm": -1.0}, ((0, 1), (2, 5), (5, 7))),
            Hypothesis((8,), -3.5, {"ctc": -2.5, "lm": -1.0}, ((1, 2),)),
        ],
        [Hypothesis((), -1.0, {"ctc": -1.0}), Hypothesis((6, 6), -1.5, {"ctc": -2.0, "length": 0.5})],
    ]


def test_the_language_model_replaces_its_own_part_and_no_other() -> None:
    scorer = make_scorer("lstm")
    answers = LmRescored(Fixed(n_best_lists()), scorer, 0.7).search(encoded_for(0, 1))
    for n_best, before in zip(answers, n_best_lists(), strict=True):
        assert [hypothesis.score for hypothesis in n_best] == sorted((one.score for one in n_best), reverse=True)
        assert {one.tokens for one in n_best} == {one.tokens for one in before}
        for hypothesis in n_best:
            (old,) = [one for one in before if one.tokens == hypothesis.tokens]
            assert hypothesis.parts == pytest.approx(
                {**old.parts, "lm": 0.7 * log_probability(scorer, hypothesis.tokens)}, rel=1e-9
            )
            assert sum(hypothesis.parts.values()) == pytest.approx(hypothesis.score, rel=1e-9)
            assert hypothesis.spans == old.spans


def test_a_heavy_language_model_decides_the_order() -> None:
    scorer = make_scorer("transformer")
    (n_best,) = LmRescored(Fixed(n_best_lists()), scorer, 1000.0).search(encoded_for(0))
    assert n_best[0].tokens == max([(4, 5, 6), (8,)], key=lambda tokens: log_probability(scorer, tokens))


def test_without_weight_the_acoustic_order_returns() -> None:
    (n_best,) = LmRescored(Fixed(n_best_lists()), make_scorer("lstm"), 0.0).search(encoded_for(0))
    assert [(one.tokens, one.score) for one in n_best] == [((4, 5, 6), -2.0), ((8,), -2.5)]


def test_an_utterance_gets_the_same_answer_alone_and_among_others() -> None:
    rescored = LmRescored(Fixed(n_best_lists()), make_scorer("transformer"), 0.7)
    together = rescored.search(encoded_for(0, 1))
    for row in (0, 1):
        (alone,) = rescored.search(encoded_for(row))
        assert [one.tokens for one in alone] == [one.tokens for one in together[row]]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together[row]], rel=1e-9)
