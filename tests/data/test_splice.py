"""Chains of pieces: whose, how long, how often, and what the network hears and reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.audio.io import load_audio
from asr.data.dataset import SpeechDataset
from asr.data.splice import Splicer
from asr.types import Utterance


def piece(id: str, duration: float, speaker: str | None = "ann") -> Utterance:
    return Utterance(id, Path("a.wav"), duration, id, speaker=speaker)


def chains(pieces: list[Utterance], utterance: Utterance, probability: float = 1.0) -> list[list[Utterance]]:
    splicer = Splicer(pieces, probability)
    return [splicer(utterance, np.random.default_rng(seed)) for seed in range(200)]


def test_a_chain_holds_pieces_of_the_same_speaker_each_once_and_lasts_no_longer() -> None:
    pieces = [piece(f"p{n}", 0.125 + 0.0625 * n, "ann" if n % 2 else "bob") for n in range(20)]
    mine = [one for one in pieces if one.speaker == "ann"]
    seen = set()
    for chain in chains(pieces, piece("u", 2.0)):
        assert all(one in mine for one in chain)
        assert len({one.id for one in chain}) == len(chain)
        left = 2.0 - sum(one.duration for one in chain)
        assert left >= 0
        assert all(one.duration > left for one in mine if one not in chain)  # nothing else would have fitted
        seen.add(tuple(one.id for one in chain))
    assert len(seen) > 100


@pytest.mark.parametrize("speaker", ["bob", None])
def test_without_pieces_of_the_speaker_an_utterance_stays_as_it_is(speaker: str | None) -> None:
    utterance = piece("u", 2.0, speaker)
    assert chains([piece("p", 0.5), piece("q", 0.5, None)], utterance)[:3] == [[utterance]] * 3


def test_pieces_that_are_all_too_long_leave_the_utterance_as_it_is() -> None:
    utterance = piece("u", 0.4)
    assert chains([piece("p", 0.5)], utterance)[0] == [utterance]


def test_the_probability_tells_how_often_an_utterance_is_replaced() -> None:
    utterance = piece("u", 1.0)
    replaced = sum(chain != [utterance] for chain in chains([piece("p", 0.5)], utterance, 0.3))
    assert 30 < replaced < 90  # 60 expected of 200, standard deviation 6.5


def test_an_example_holds_the_audio_and_the_text_of_the_chain_under_the_id_of_the_utterance(
    utterances, frontend, tokenizer
):
    rows = [replace(row, speaker="ann") for row in utterances]
    pieces = [replace(rows[4], id="p", duration=0.15), replace(rows[5], id="q", start=0.05, duration=0.1)]
    dataset = SpeechDataset([rows[0]], frontend, tokenizer, "basic", splicer=Splicer(pieces, 1.0))
    waveforms = [load_audio(one.audio, 8000, start=one.start, duration=one.duration) for one in pieces]
    seen = set()
    for epoch in range(20):
        example = dataset.load(0, epoch)
        assert example.id == rows[0].id
        text = tokenizer.decode(example.tokens.tolist())
        order = {"word 1 word 2": (0, 1), "word 2 word 1": (1, 0)}[text]
        expected = frontend.extract(np.concatenate([waveforms[index] for index in order]), 8000)
        assert torch.equal(example.features, expected)
        seen.add(order)
    assert len(seen) == 2
