"""CTC prefix beam search: exact without limits, and the same answers from both kernels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.decoding.ctc_prefix_beam import CtcPrefixBeam, CtcPrefixBeamConfig
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.hotwords import Hotword, HotwordScorer
from asr.errors import ConfigError
from asr.lm.ngram import ngram_scorer
from asr.lm.ngram.counts import IdCorpus
from asr.lm.ngram.kneser_ney import estimate
from asr.lm.ngram.model import NgramModel
from asr.text.tokenizer.base import SPACE
from asr.text.tokenizer.sentence_piece import BLANK, SOS, SPECIAL_PIECES
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.brute_force import ctc_text_scores, random_log_probs
from tests.decoding.fakes import fake_heads
from tests.foreign_vocabularies import ours

TOKENIZER = ours((SPACE, "a", "b", SPACE + "a", "ab"))
VOCABULARY = TOKENIZER.vocabulary
KERNELS = ["compiled", "tensor"]


def search(
    log_probs: Tensor, lens: list[int], fusion: Fusion = NO_FUSION, **settings: object
) -> list[list[Hypothesis]]:
    if settings.get("kernel") == "compiled":
        pytest.importorskip("numba")
    heads = fake_heads(ctc=VOCABULARY if log_probs.shape[2] == len(VOCABULARY) else log_probs.shape[2])
    searcher = CtcPrefixBeam(CtcPrefixBeamConfig.model_validate(settings), heads, fusion)
    return searcher.search(EncoderOutput(log_probs, torch.tensor(lens)))


UNLIMITED = {"beam": 2000, "token_threshold": None, "beam_threshold": None}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("seed", range(3))
def test_without_limits_every_text_gets_its_exact_probability(kernel: str, seed: int) -> None:
    log_probs = random_log_probs(1, 5, 6, seed=seed)
    (n_best,) = search(log_probs, [5], kernel=kernel, **UNLIMITED)
    expected = ctc_text_scores(log_probs[0])
    assert {hypothesis.tokens: hypothesis.score for hypothesis in n_best} == pytest.approx(expected, abs=1e-9)
    assert math.fsum(math.exp(hypothesis.score) for hypothesis in n_best) == pytest.approx(1.0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_hotwords_and_length_bonus_change_the_exact_scores_by_what_the_text_earns(kernel: str) -> None:
    log_probs = random_log_probs(1, 5, 9, seed=4)
    fusion = Fusion(hotwords=HotwordScorer([Hotword("ab", 3.0)], TOKENIZER))
    (n_best,) = search(log_probs, [5], fusion, kernel=kernel, length_bonus=0.7, **UNLIMITED)
    expected = ctc_text_scores(log_probs[0])
    assert len(n_best) == min(len(expected), 2000)
    for hypothesis in n_best[:200]:
        text = "".join(VOCABULARY.piece(t) for t in hypothesis.tokens if t >= len(SPECIAL_PIECES)).replace(SPACE, " ")
        words = text.split() if 1 not in hypothesis.tokens else []
        assert hypothesis.parts["ctc"] == pytest.approx(expected[hypothesis.tokens], abs=1e-9)
        assert hypothesis.parts["length"] == pytest.approx(0.7 * len(hypothesis.tokens))
        if 1 not in hypothesis.tokens:
            assert hypothesis.parts["hotwords"] == pytest.approx(3.0 * words.count("ab"), abs=1e-9)


@pytest.mark.parametrize("limits", [{}, {"beam": 3}, {"beam": 30, "token_threshold": -3.0, "beam_threshold": -6.0}])
@pytest.mark.parametrize("seed", range(4))
def test_both_kernels_give_the_same_n_best_lists(limits: dict[str, object], seed: int) -> None:
    log_probs = random_log_probs(3, 30, 9, seed=seed, sharpness=3.0)
    fusion = Fusion(hotwords=HotwordScorer([Hotword("ab", 3.0), Hotword("a b", 1.0)], TOKENIZER))
    answers = [search(log_probs, [30, 17, 0], fusion, kernel=kernel, length_bonus=0.3, **limits) for kernel in KERNELS]
    for compiled, tensor in zip(*answers, strict=True):
        assert [hypothesis.tokens for hypothesis in compiled] == [hypothesis.tokens for hypothesis in tensor]
        for one, other in zip(compiled, tensor, strict=True):
            assert one.parts == pytest.approx(other.parts, abs=1e-9)


def random_lm(units: list[str], seed: int) -> NgramModel:
    """A bigram of random sentences over some units."""
    rng = np.random.default_rng(seed)
    sentences = [rng.choice(units, size=rng.integers(1, 6)).tolist() for _ in range(300)]
    with IdCorpus(sentences) as corpus:
        return estimate(corpus.count(order=2)).model


WORD_LM = random_lm(["a", "ab", "b", "ba", "aab"], seed=1)
TOKEN_LM = random_lm([SPACE, "a", "b", SPACE + "a", "ab"], seed=2)


@pytest.mark.parametrize("limits", [{}, {"beam": 3}, {"beam": 30, "token_threshold": -3.0, "beam_threshold": -6.0}])
@pytest.mark.parametrize("model", [WORD_LM, TOKEN_LM], ids=["words", "tokens"])
@pytest.mark.parametrize("seed", range(3))
def test_both_kernels_agree_with_a_language_model(limits: dict[str, object], model: NgramModel, seed: int) -> None:
    log_probs = random_log_probs(2, 25, 9, seed=seed, sharpness=3.0)
    hotwords = HotwordScorer([Hotword("ab", 3.0)], TOKENIZER)
    fusion = Fusion(ngram_scorer(model, TOKENIZER, unk_score=-2.0), hotwords)
    settings = {"length_bonus": 0.3, "lm_weight": 0.8, **limits}
    compiled, tensor = (search(log_probs, [25, 13], fusion, kernel=kernel, **settings) for kernel in KERNELS)
    for one, other in zip(compiled, tensor, strict=True):
        assert [hypothesis.tokens for hypothesis in one] == [hypothesis.tokens for hypothesis in other]
        for first, second in zip(one, other, strict=True):
            assert first.parts == pytest.approx(second.parts, abs=1e-6)  # the compiled one has look-aheads in float32


@pytest.mark.parametrize("model", [WORD_LM, TOKEN_LM], ids=["words", "tokens"])
@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=8)
@given(cuts=st.lists(st.integers(0, 20), max_size=4), seed=st.integers(0, 99))
def test_a_search_goes_on_after_any_cut_as_if_there_were_none(
    kernel: str, model: NgramModel, cuts: list[int], seed: int
) -> None:
    """With scores of texts that depend on all that came before, and rows that change places between chunks."""
    log_probs = random_log_probs(2, 20, 9, seed=seed, sharpness=3.0)
    scorer = ngram_scorer(model, TOKENIZER, unk_score=-2.0)
    fusion = Fusion(scorer, HotwordScorer([Hotword("ab", 3.0), Hotword("a b", 1.0)], TOKENIZER))
    config = CtcPrefixBeamConfig(kernel=kernel, beam=7, lm_weight=0.8, length_bonus=0.3)
    searcher = CtcPrefixBeam(config, fake_heads(ctc=VOCABULARY), fusion)
    whole = searcher.search(EncoderOutput(log_probs, torch.tensor([20, 13])))
    state, moving, order = searcher.start(2), searcher.start(2), torch.tensor([0, 1])
    places = [0, *sorted(cuts), 20]
    for begin, end in itertools.pairwise(places):
        lens = (torch.tensor([20, 13]).clamp(max=end) - begin).clamp(min=0)
        state = searcher.advance(state, EncoderOutput(log_probs[:, begin:end], lens))
        moving = searcher.advance(moving, EncoderOutput(log_probs[order, begin:end], lens[order]))
        order = order.flip(0)
        moving = moving.join([moving.select(torch.tensor([row])) for row in (1, 0)])
    assert searcher.finish(state) == whole
    moved = searcher.finish(moving)
    for n_best, expected in zip([moved[row] for row in order.argsort().tolist()], whole, strict=True):
        assert [one.tokens for one in n_best] == [one.tokens for one in expected]
        for one, other in zip(n_best, expected, strict=True):
            assert one.parts == pytest.approx(other.parts, abs=1e-9)  # other places, other rounding of vectors


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_lm_part_is_the_weighted_score_of_the_words_and_the_sentence_end(kernel: str) -> None:
    log_probs = random_log_probs(1, 5, 9, seed=8)
    fusion = Fusion(ngram_scorer(WORD_LM, TOKENIZER, unk_score=-2.0))
    (n_best,) = search(log_probs, [5], fusion, kernel=kernel, lm_weight=0.5, **UNLIMITED)
    for hypothesis in n_best[:300]:
        pieces = ("?" if token < len(SPECIAL_PIECES) else VOCABULARY.piece(token) for token in hypothesis.tokens)
        words = "".join(pieces).replace(SPACE, " ").split()
        unknown = sum(WORD_LM.id(word) == WORD_LM.unk_id for word in words)
        expected = 0.5 * (WORD_LM.sentence_log_prob(words) - 2.0 * unknown)
        assert hypothesis.parts["lm"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_double_letter_needs_a_blank_between(kernel: str) -> None:
    log_probs = torch.full((1, 3, 6), -20.0, dtype=torch.float64)
    for frame, token in enumerate((4, BLANK, 4)):
        log_probs[0, frame, token] = -1e-6
    (n_best,) = search(log_probs, [3], kernel=kernel)
    assert n_best[0].tokens == (4, 4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_most_probable_text_beats_the_most_probable_path(kernel: str) -> None:
    """Two frames of 0.6 blank and 0.4 "a": the best path is empty (0.36), the best text is "a" (0.64)."""
    frame = torch.tensor([0.6, 1e-30, 0.0, 0.0, 0.4 - 1e-30]).log()
    (n_best,) = search(frame.expand(1, 2, 5).double(), [2], kernel=kernel, token_threshold=-5.0)
    assert n_best[0].tokens == (4,)
    assert math.exp(n_best[0].score) == pytest.approx(0.64)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_token_that_began_in_a_frame_where_it_was_not_tried_counts_from_there(kernel: str) -> None:
    """Paths: blank + token, and token + token, whose first frame is below the threshold; token + blank is none."""
    frames = torch.tensor([[[0.99, 1e-30, 0.0, 0.0, 0.01], [0.1, 1e-30, 0.0, 0.0, 0.9]]]).double().log()
    for cut in (0, 1):
        searcher = CtcPrefixBeam(CtcPrefixBeamConfig(kernel=kernel, token_threshold=-3.0), fake_heads(ctc=5))
        state = searcher.start(1)
        for part in (frames[:, :cut], frames[:, cut:]):
            state = searcher.advance(state, EncoderOutput(part, torch.tensor([part.shape[1]])))
        (n_best,) = searcher.finish(state)
        assert n_best[0].tokens == (4,)
        assert math.exp(n_best[0].score) == pytest.approx(0.99 * 0.9 + 0.01 * 0.9)


def test_the_compiled_kernel_is_refused_for_scorers_it_does_not_know() -> None:
    class Other:
        pass

    with pytest.raises(ConfigError, match="no n-gram"):
        CtcPrefixBeam(CtcPrefixBeamConfig(kernel="compiled"), fake_heads(ctc=9), Fusion(lm=Other()))  # type: ignore[arg-type]


def test_a_scorer_may_put_anything_where_columns_mean_nothing() -> None:
    class Careless(HotwordScorer):
        def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            scores, state = super().step(tokens, state)
            scores[:, [BLANK, SOS]] = math.nan
            return scores, state

    log_probs = random_log_probs(1, 12, 9, seed=3)
    words = [Hotword("ab", 3.0)]
    answers = [
        search(log_probs, [12], Fusion(hotwords=scorer(words, TOKENIZER)), kernel="tensor")
        for scorer in (HotwordScorer, Careless)
    ]
    assert answers[0] == answers[1]
