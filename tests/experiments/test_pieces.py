"""Cutting at pauses: the pieces of an utterance are the utterance, and a cut lies in silence."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.audio.io import load_audio, write_wav
from asr.bundle.bundle import Bundle
from asr.data.manifest import read_manifest, write_manifest
from asr.errors import ConfigError
from asr.experiments import launch
from asr.experiments.pieces import cut
from asr.types import Utterance

ROOT = Path(__file__).resolve().parents[2]


def joined(pieces: list[Utterance]) -> Utterance:
    """What a chain of neighbours covers, checked to be without a gap."""
    for left, right in itertools.pairwise(pieces):
        assert right.start == pytest.approx(left.start + left.duration)
    duration = sum(piece.duration for piece in pieces)
    return replace(pieces[0], duration=duration, text=" ".join(piece.text for piece in pieces))


def test_pieces_of_spelled_words_tile_their_utterance_and_are_cut_where_it_is_quiet(corpora: Path) -> None:
    folder = corpora / "an4" / "wav" / "an4test_clstk" / "fcaw"
    spoken = Utterance("a", folder / "cen8-fcaw-b.sph", 0.0, "ELEVEN TWENTY SEVEN FIFTY SEVEN", start=0.0)
    waveform = load_audio(spoken.audio, 16000)
    spoken = replace(spoken, duration=len(waveform) / 16000, speaker="fcaw")
    bundle = Bundle.load(ROOT / "recipes" / "an4" / "model")
    counts = {}
    for pause_db in (0, 20, 90):
        pieces = cut(bundle, [spoken], pause_db=pause_db)
        assert joined(pieces) == replace(spoken, id="a.0", duration=pytest.approx(spoken.duration), text=spoken.text)
        counts[pause_db] = len(pieces)
        for piece in pieces[1:]:
            sample = round(piece.start * 16000)
            quiet = np.square(waveform[sample - 160 : sample + 160]).mean()
            assert 10 * np.log10(np.square(waveform).mean() / quiet) > pause_db - 10
    assert counts[0] >= counts[20] >= counts[90] == 1
    assert counts[0] > 1


def test_a_text_that_does_not_fit_the_audio_gives_no_piece(workspace: Path) -> None:
    rows = read_manifest("dev.jsonl")
    pieces = cut(Bundle.load(Path("model")), [replace(rows[0], text=" ".join(["zero"] * 200)), rows[1]])
    assert {piece.id.partition(".")[0] for piece in pieces} == {rows[1].id}


def test_silence_is_cut_without_a_word_of_complaint(workspace: Path) -> None:
    write_wav("silence.wav", np.zeros(16000, np.float32), 16000)
    pieces = cut(Bundle.load(Path("model")), [Utterance("s", Path("silence.wav").resolve(), 1.0, "one two")])
    assert " ".join(piece.text for piece in pieces) == "one two"


def test_what_the_model_cannot_write_stays_in_the_pieces(workspace: Path) -> None:
    (row, *_) = read_manifest("dev.jsonl")
    text = "caf\u00e9 one, -- two? \u65e5"
    pieces = cut(Bundle.load(Path("model")), [replace(row, text=text)], pause_db=-100)
    assert len(pieces) > 1
    assert " ".join(piece.text for piece in pieces) == text


def test_a_model_without_ctc_is_refused(workspace: Path) -> None:
    bundle = Bundle.load(Path("model"))
    del bundle.model.heads["ctc"]
    with pytest.raises(ConfigError, match="CTC head"):
        cut(bundle, read_manifest("dev.jsonl"))


def test_training_learns_from_chains_of_the_pieces_that_were_cut(workspace: Path) -> None:
    rows = [replace(row, speaker="ann") for row in read_manifest("train.jsonl")]
    write_manifest("train.jsonl", rows)
    write_manifest("pieces.jsonl", cut(Bundle.load(Path("model")), rows, pause_db=0))
    losses = []
    for out, probability in (("never", 0.0), ("always", 1.0)):
        splice = f"splice={{pieces: pieces.jsonl, probability: {probability}}}"
        launch.train(Path("experiment.yaml"), Path(out), overrides=[splice], device="cpu")
        log = Path(out, "training", "train.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append([json.loads(line)["loss"] for line in log if '"epoch"' in line and '"loss"' in line])
        hashes = Bundle.load(Path(out)).spec.provenance
        assert hashes is not None
        assert len(hashes.data_hash.split("+")) == 3
    assert losses[0][0] != losses[1][0]
