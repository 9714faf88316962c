"""A wav2vec 2.0 trained here, written as the hub has it, read by transformers where it is installed and by us again."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from asr.bundle.bundle import Bundle
from tests.bundle.foreign.ctc_files import export_ctc

ROOT = Path(__file__).resolve().parents[2]
ASR = [sys.executable, "-m", "asr.cli.main"]
CONFIG = """
data: {train: data/train.jsonl, dev: data/dev.jsonl, max_batch_seconds: 32, num_workers: 0}
frontend: {name: raw, sample_rate: 8000}
augment: {speed_range: [0.9, 1.1], gain_db: [-10, 10]}
spec_augment: null
tokenizer: {name: separated}
encoder:
  {name: wav2vec2, conv_dims: [32, 64, 64, 96], conv_kernels: [16, 8, 4, 4], conv_strides: [8, 4, 4, 2], dim: 96,
   num_layers: 2, num_heads: 4, ff_dim: 192, position_kernel: 16, position_groups: 4, pre_norm: true, dropout: 0.05}
optimizer: {lr: 0.003}
training: {epochs: 10, average: last, average_num: 1, validate_every: 10}
"""


def run(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_trained_model_goes_to_the_hubs_layout_and_back(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(sys.executable, ROOT / "recipes/yesno/prepare.py", "--corpus", corpora / "yesno", "--out", "data")
    Path("config.yaml").write_text(CONFIG)
    run(*ASR, "train", "config.yaml", "--out", "exp", "--threads", "1")
    export_ctc(Bundle.load("exp"), Path("hub"))
    run(*ASR, "models", "import", "hub", "--out", "back")
    run(*ASR, "evaluate", "back", "data/test.jsonl")
    assert json.loads(Path("back/results/test/wer.json").read_text())["wer"] < 0.05
    texts = {row["id"]: row["text"] for row in read_lines(Path("back/results/test/hypotheses.jsonl"))}
    rows = read_lines(Path("data/test.jsonl"))
    if importlib.util.find_spec("transformers") is not None:
        assert texts == {row["id"]: text_of_transformers(Path("data") / row["audio"]) for row in rows}
    Path("text.txt").write_text(rows[0]["text"])
    aligned = run(*ASR, "align", "--model", "back", Path("data") / rows[0]["audio"], "text.txt", "--format", "ctm")
    words = [line.split() for line in aligned.splitlines()]
    assert [word[4] for word in words] == rows[0]["text"].split()
    starts = [float(word[2]) for word in words]
    assert all(0.3 < later - sooner < 1.5 for sooner, later in itertools.pairwise(starts))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def text_of_transformers(audio: Path) -> str:
    """What transformers makes of a recording with the model in `hub`."""
    import transformers

    model = transformers.Wav2Vec2ForCTC.from_pretrained("hub").eval()
    extract = transformers.Wav2Vec2FeatureExtractor.from_pretrained("hub")
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained("hub")
    samples, rate = soundfile.read(audio, dtype="float32")
    with torch.no_grad():
        logits = model(extract(samples, sampling_rate=rate, return_tensors="pt").input_values).logits
    return str(tokenizer.decode(logits[0].argmax(-1).tolist(), skip_special_tokens=True))
