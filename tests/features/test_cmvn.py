"""Mean and variance normalisation, global and per utterance."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from asr.features.cmvn import MIN_STD, Cmvn, FeatureStatistics
from asr.lengths import pad_stack


def corpus(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        3 * torch.randn(length, 4, generator=generator) + torch.tensor([-12.0, 0.0, 5.0, 20.0]) for length in lengths
    ]


def statistics(utterances: list[Tensor]) -> FeatureStatistics:
    collected = FeatureStatistics(4)
    for utterance in utterances:
        collected.add(utterance)
    return collected


def test_statistics_are_those_of_all_frames_together():
    utterances = corpus(10, 300, 1, 0, 57)
    frames = torch.cat(utterances).double()
    collected = statistics(utterances)
    assert collected.num_frames == 368
    torch.testing.assert_close(collected.mean(), frames.mean(dim=0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(collected.std(), frames.std(dim=0, correction=0), rtol=1e-9, atol=0)


def test_the_order_of_utterances_changes_no_bit():
    results = [statistics(list(order)) for order in itertools.permutations(corpus(10, 300, 1, 57))]
    for result in results[1:]:
        assert torch.equal(result.mean(), results[0].mean())
        assert torch.equal(result.std(), results[0].std())


def test_global_normalisation_gives_the_corpus_mean_0_and_deviation_1():
    utterances = corpus(100, 300)
    cmvn = Cmvn("global", 4)
    cmvn.fit(statistics(utterances))
    frames = torch.cat([cmvn(utterance[None], torch.tensor([len(utterance)]))[0] for utterance in utterances])
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(4), rtol=1e-4, atol=0)


def test_utterance_normalisation_is_the_same_alone_and_beside_padding_of_noise():
    utterances = [utterance.double() for utterance in corpus(7, 120, 1, 0)]
    padded, lens = pad_stack(utterances, value=99.0)
    cmvn = Cmvn("utterance", 4)
    together = cmvn(padded, lens)
    for row, length, utterance in zip(together, lens, utterances, strict=True):
        expected = cmvn(utterance[None], length[None])[0]
        torch.testing.assert_close(row[:length], expected, rtol=1e-12, atol=1e-12)
        if length > 1:
            torch.testing.assert_close(expected.std(dim=0, correction=0), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["global", "utterance"])
def test_a_feature_that_never_changes_becomes_0(kind):
    constant = torch.full((1, 50, 4), -15.9424)
    cmvn = Cmvn(kind, 4)
    if kind == "global":
        cmvn.fit(statistics([constant[0]]))
    assert cmvn(constant, torch.tensor([50])).abs().max() <= 1e-5 / MIN_STD


def test_none_changes_nothing():
    features = corpus(20)[0][None]
    assert torch.equal(Cmvn("none", 4)(features, torch.tensor([20])), features)
