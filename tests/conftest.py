"""Fixtures for every test: one torch thread each, because the suite itself runs in parallel."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# No test depends on how fast the machine is just now.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

# No test finds models of whoever runs it, or asks a hub that is not of its own making.
os.environ["ASR_HOME"] = os.environ["HF_HUB_CACHE"] = str(Path(tempfile.gettempdir(), "asr-tests-have-no-models"))
os.environ["HF_HUB_OFFLINE"] = "1"

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"

# A learning rate of next to nothing keeps the random weights. Those of this seed say something to every sound, and
# another thing by search; trained for two epochs, they would be silent.
TINY_EXPERIMENT = """
seed: 10
data: {train: train.jsonl, dev: dev.jsonl, num_workers: 0}
frontend: {cmvn: utterance}
tokenizer: {name: char}
encoder: {name: transformer, dim: 16, num_layers: 2, num_heads: 2, ff_dim: 24, subsampling: {channels: 4}}
heads: [{name: ctc}, {name: transformer, dim: 16, num_layers: 1, num_heads: 2, ff_dim: 24}]
loss: {weights: {ctc: 0.3, transformer: 0.7}}
optimizer: {lr: 1.0e-9}
training: {epochs: 2}
"""

TINY_LM = """
model: model
data: {train: [train.jsonl], dev: [dev.jsonl], max_batch_tokens: 30}
language_model: {name: lstm, dim: 8, num_layers: 1}
training: {epochs: 2}
"""


@pytest.fixture(autouse=True)
def _no_pictures_of_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training draws no `curves.png`, which takes longer than the training of a tiny model, but with this mark."""
    if request.node.get_closest_marker("draws_curves") is None:
        monkeypatch.setattr("asr.training.metrics.draw_curves", lambda *_: True)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real speech corpora that lies beside a checkout in CI."""
    if not CORPORA.is_dir():
        pytest.skip(f"real speech corpora are not at {CORPORA}")
    return CORPORA


def melody(seed: int, seconds: float, sample_rate: int = 16000) -> np.ndarray:
    """A tone of random pitch and loudness every tenth of a second, so that something changes all the time."""
    rng = np.random.default_rng(seed)
    num_samples, tone = round(sample_rate * seconds), sample_rate // 10
    num_tones = -(-num_samples // tone)
    pitch = np.repeat(rng.uniform(100, 6000, num_tones), tone)[:num_samples]
    gain = np.repeat(rng.uniform(0, 0.3, num_tones), tone)[:num_samples]
    waveform = gain * np.sin(2 * np.pi * np.cumsum(pitch) / sample_rate) + rng.normal(0, 0.003, num_samples)
    return waveform.astype(np.float32)


@pytest.fixture(scope="session")
def tiny_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with six recordings, manifests, `experiment.yaml` and the folder `model` trained from it.

    Two pairs of texts to score, hotwords, a list of words, two tables and `lm.yaml`, of a language model, lie there,
    too. Shared by all tests: read only. `workspace` gives a copy to write to.
    """
    from asr.audio.io import write_wav
    from asr.data.manifest import write_manifest
    from asr.experiments import launch
    from asr.types import Utterance

    folder = tmp_path_factory.mktemp("tiny")
    texts = ["one two three", "four five", "six seven", "eight nine", "zero", "one two three"]
    rows = []
    for number, text in enumerate(texts):
        seconds = 1.0 + 0.3 * number
        write_wav(folder / "audio" / f"{number}.wav", melody(number, seconds), 16000)
        rows.append(Utterance(f"u{number}", folder / "audio" / f"{number}.wav", seconds, text))
    write_manifest(folder / "train.jsonl", rows[:4])
    write_manifest(folder / "dev.jsonl", rows[4:])
    (folder / "experiment.yaml").write_text(TINY_EXPERIMENT, encoding="utf-8")
    (folder / "keys.txt").write_text("# of the tests\nvery-secret-key\n", encoding="utf-8")
    (folder / "hot.txt").write_text("nine:200\n", encoding="utf-8")
    (folder / "lm.yaml").write_text(TINY_LM, encoding="utf-8")
    (folder / "ref.txt").write_text("a one two\nb three\n", encoding="utf-8")
    (folder / "hyp.txt").write_text("a One two!\nb three\n", encoding="utf-8")
    (folder / "marks.txt").write_text("a {One / won} (uh) two! x y\nb th ree uh thr-ee\n", encoding="utf-8")
    (folder / "broken.wav").write_bytes((folder / "audio" / "5.wav").read_bytes()[:30_000])
    (folder / "words.txt").write_text("one\nthree\n", encoding="utf-8")
    (folder / "ref.jsonl").write_text('{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n', encoding="utf-8")
    table = "audio,text,other,note,number\naudio/4.wav,zero,audio/5.wav,word,0.5\n"
    (folder / "table.csv").write_text(table, encoding="utf-8")
    (folder / "half.csv").write_text(f"{table}gone.wav,gone,,,\n", encoding="utf-8")
    (folder / "part.jsonl").write_text('{"id": "a", "text": "one"}\n', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("asr.training.metrics.draw_curves", lambda *_: True)
        launch.train(Path("experiment.yaml"), Path("model"), device="cpu")
    return folder


@pytest.fixture
def workspace(tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny workspace, which is also the working directory."""
    folder = tmp_path / "workspace"
    shutil.copytree(tiny_workspace, folder)
    monkeypatch.chdir(folder)
    return folder


class FolderServer(ThreadingHTTPServer):
    """Serves a folder on this machine; the next `failures` requests are answered 503, and all are noted."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.failures = 0
        self.requests: list[str] = []  # paths, in the order they came
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    server: FolderServer

    def do_GET(self) -> None:
        self.server.requests.append(self.path.lstrip("/"))
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder_server(tmp_path: Path) -> Iterator[FolderServer]:
    """A server of `tmp_path`."""
    server = FolderServer(tmp_path)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
