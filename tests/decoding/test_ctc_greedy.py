"""Greedy CTC search against collapsing by hand."""

from __future__ import annotations

import itertools

import pytest
import torch

from asr.decoding.ctc_greedy import CtcGreedy, CtcGreedyConfig
from asr.errors import ConfigError
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.fakes import FakeDecoder, fake_heads


def search(paths: list[list[int]], lens: list[int]) -> list[Hypothesis]:
    """The best hypotheses where the given tokens win every frame."""
    log_probs = (3.0 * torch.nn.functional.one_hot(torch.tensor(paths), 8).double()).log_softmax(-1)
    searcher = CtcGreedy(CtcGreedyConfig(), fake_heads(ctc=8))
    return [n_best[0] for n_best in searcher.search(EncoderOutput(log_probs, torch.tensor(lens)))]


def test_repeats_merge_and_blanks_vanish() -> None:
    hypotheses = search([[0, 4, 4, 0, 4, 5], [5, 5, 6, 0, 0, 7]], [6, 6])
    assert [hypothesis.tokens for hypothesis in hypotheses] == [(4, 4, 5), (5, 6, 7)]
    assert [hypothesis.spans for hypothesis in hypotheses] == [((1, 3), (4, 5), (5, 6)), ((0, 2), (2, 3), (5, 6))]


def test_padding_is_not_read() -> None:
    hypotheses = search([[4, 0, 5, 5, 6], [0, 0, 4, 5, 6]], [3, 2])
    assert [hypothesis.tokens for hypothesis in hypotheses] == [(4, 5), ()]
    assert hypotheses[0].spans == ((0, 1), (2, 3))


def test_an_utterance_without_frames_gets_the_empty_hypothesis() -> None:
    hypotheses = search([[4, 5], [6, 6]], [0, 2])
    assert hypotheses[0] == Hypothesis((), 0.0, {"ctc": 0.0}, ())
    assert hypotheses[1].tokens == (6,)


def test_every_path_collapses_as_by_hand_and_scores_its_log_probability() -> None:
    paths = [list(path) for path in itertools.product([0, 4, 5], repeat=5)]
    frame_score = (3.0 * torch.eye(8)[0].double()).log_softmax(-1)[0].item()
    for path, hypothesis in zip(paths, search(paths, [5] * len(paths)), strict=True):
        assert hypothesis.tokens == tuple(token for token, _ in itertools.groupby(path) if token != 0)
        assert hypothesis.score == pytest.approx(5 * frame_score, rel=1e-12)
        runs = [(token, len(list(run))) for token, run in itertools.groupby(path)]
        ends = list(itertools.accumulate(length for _, length in runs))
        spans = [(end - length, end) for (token, length), end in zip(runs, ends, strict=True) if token != 0]
        assert hypothesis.spans == tuple(spans)


def test_a_model_without_ctc_head_is_refused_with_searches_that_would_do() -> None:
    with pytest.raises(ConfigError, match=r"needs a CTC head.*attention_beam or attention_greedy"):
        CtcGreedy(CtcGreedyConfig(), fake_heads(FakeDecoder(8)))


def test_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match="only decoders do"):
        CtcGreedy(CtcGreedyConfig(), fake_heads(ctc=8)).start(2, [None, (2, 4)])
