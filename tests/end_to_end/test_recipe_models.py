"""The models that come with the recipes keep their promises on real speech: load, score as stated, see no batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.data.manifest import read_manifest
from asr.experiments.prepare import evaluation_loader
from asr.scoring.wer import score
from asr.transcribe.recognizer import Recognizer

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def an4(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifests of AN4."""
    out = tmp_path_factory.mktemp("an4")
    prepare = [sys.executable, str(RECIPES / "an4/prepare.py"), "--corpus", str(corpora / "an4"), "--out", str(out)]
    subprocess.run(prepare, check=True, capture_output=True)
    return out


@pytest.mark.slow
def test_the_an4_model_says_the_same_alone_and_in_any_batch(an4: Path) -> None:
    bundle = Bundle.load(RECIPES / "an4/model")
    rows = read_manifest(an4 / "test.jsonl")
    paths: dict[float, dict[str, torch.Tensor]] = {}
    for seconds in (1.0, 60.0):  # one utterance a batch, and about twenty
        loader = evaluation_loader(bundle.spec, rows, bundle, num_workers=0, max_batch_seconds=seconds)
        paths[seconds] = {}
        for batch in loader.epoch(0):
            with torch.inference_mode():
                encoded = bundle.model.encode(batch.features, batch.feature_lens)
                log_probs = bundle.model.heads["ctc"].log_probs(encoded)
            for id, length, row in zip(batch.ids, encoded.lens.tolist(), log_probs, strict=True):
                paths[seconds][id] = row[:length]
    assert len(paths[1.0]) == 130
    for id, alone in paths[1.0].items():
        batched = paths[60.0][id]
        possible = alone.isfinite()
        torch.testing.assert_close(batched[possible], alone[possible], rtol=0, atol=1e-4)
        assert torch.equal(batched.argmax(-1), alone.argmax(-1))


@pytest.mark.slow
def test_the_an4_model_scores_what_its_card_says(an4: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "asr.cli.main", "evaluate", str(RECIPES / "an4/model"), str(an4 / "test.jsonl")]
    subprocess.run([*command, "--out", str(tmp_path), "--threads", "1"], check=True, capture_output=True)
    found, stated = (
        json.loads((folder / "wer.json").read_text(encoding="utf-8"))
        for folder in (tmp_path, RECIPES / "an4/model/results/test")
    )
    assert abs(found["wer"] - stated["wer"]) <= 1 / stated["reference_words"]  # another CPU may round one word away


def test_the_an4_model_transcribes_a_recording_from_a_clone_however_loud_it_is(corpora: Path) -> None:
    recognizer = Recognizer.load(RECIPES / "an4/model", device="cpu")
    recording = corpora / "an4/wav/an4_clstk/fash/an251-fash-b.sph"
    assert recognizer.transcribe(recording).text == "YES"
    samples = load_audio(recording, 16000)
    for db in (-40, -30, 20):
        assert recognizer.transcribe(samples * 10 ** (db / 20)).text == "YES"


@pytest.mark.slow
@pytest.mark.parametrize("db", [-30, 20])
def test_the_an4_model_makes_no_more_errors_in_quiet_and_loud_recordings(an4: Path, db: float) -> None:
    recognizer = Recognizer.load(RECIPES / "an4/model", device="cpu")
    rows = read_manifest(an4 / "test.jsonl")

    def errors(gain: float) -> float:
        texts = {row.id: recognizer.transcribe(load_audio(row.audio, 16000) * gain).text for row in rows}
        return score({row.id: row.text for row in rows}, texts).words.rate or 0.0

    assert errors(10 ** (db / 20)) <= errors(1.0) + 0.01
