"""Training data that was damaged: every row is trained on, named, or the run ends with an error that names its file."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.bundle.bundle import Bundle
from asr.errors import AsrError
from asr.experiments import launch

SETTINGS = ("training.epochs=1", "training.average_num=1", "data.max_batch_seconds=100")
NUM_ROWS = 4

Damage = Callable[[Path, random.Random], None]


def rows_of(folder: Path) -> list[bytes]:
    return (folder / "train.jsonl").read_bytes().splitlines(keepends=True)


def cut(folder: Path, rng: random.Random) -> None:
    content = (folder / "train.jsonl").read_bytes()
    (folder / "train.jsonl").write_bytes(content[: rng.randrange(len(content))])


def flip(folder: Path, rng: random.Random) -> None:
    content = bytearray((folder / "train.jsonl").read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (folder / "train.jsonl").write_bytes(content)


def duplicate(folder: Path, rng: random.Random) -> None:
    rows = rows_of(folder)
    (folder / "train.jsonl").write_bytes(b"".join([*rows, rng.choice(rows)]))


def reorder(folder: Path, rng: random.Random) -> None:
    rows = rows_of(folder)
    rng.shuffle(rows)
    (folder / "train.jsonl").write_bytes(b"".join(rows))


def mislabel(folder: Path, rng: random.Random) -> None:
    rows = [json.loads(row) for row in rows_of(folder)]
    wrong = rng.choice(["", "one " * 200, "\u4e2d", "ONE", "one\ntwo", "\0"])
    rows[rng.randrange(len(rows))] |= rng.choice([{"text": wrong}, {"start": 1e3}, {"duration": 1e-3}, {"start": -1}])
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recode(folder: Path, rng: random.Random) -> None:
    text = (folder / "train.jsonl").read_text(encoding="utf-8")
    (folder / "train.jsonl").write_bytes(text.encode(rng.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])))


def cut_audio(folder: Path, rng: random.Random) -> None:
    path = folder / "audio" / f"{rng.randrange(NUM_ROWS)}.wav"
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def flip_audio(folder: Path, rng: random.Random) -> None:
    path = folder / "audio" / f"{rng.randrange(NUM_ROWS)}.wav"
    content = bytearray(path.read_bytes())
    content[rng.choice([rng.randrange(44), rng.randrange(len(content))])] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def swap_audio(folder: Path, rng: random.Random) -> None:
    first, second = rng.sample(range(NUM_ROWS), 2)
    shutil.copy(folder / "audio" / f"{first}.wav", folder / "audio" / f"{second}.wav")


DAMAGES: dict[str, Damage] = {
    one.__name__: one for one in (cut, flip, duplicate, reorder, mislabel, recode, cut_audio, flip_audio, swap_audio)
}


@pytest.mark.parametrize("damage", DAMAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_run_on_damaged_data_names_every_row_that_it_does_without(
    damage, seed, tiny_workspace, tmp_path_factory, monkeypatch, capsys, recwarn
):
    folder = tmp_path_factory.mktemp("damaged") / "workspace"
    shutil.copytree(tiny_workspace, folder, ignore=shutil.ignore_patterns("model"))
    monkeypatch.chdir(folder)
    DAMAGES[damage](folder, random.Random(seed))
    num_rows = sum(bool(row.strip()) for row in rows_of(folder))
    capsys.readouterr()
    recwarn.clear()
    refused = ""
    try:
        launch.train(Path("experiment.yaml"), Path("out"), overrides=SETTINGS, device="cpu")
    except AsrError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        assert re.search(r"train\.jsonl|audio/\d\.wav|utterance|row|data\.train", refused), refused
        assert not (folder / "out" / "model.safetensors").exists()
        return
    said = capsys.readouterr().err + "".join(f"{one.message}\n" for one in recwarn)
    counts = re.search(r"in (\d+) utterances? \((\d+) set aside\)", said)
    assert counts is not None, said
    assert int(counts[1]) + int(counts[2]) == num_rows or damage == "cut"
    aside = {line.split()[2].rstrip(":") for line in said.splitlines() if line.startswith("set aside ")}
    assert len(aside) >= min(int(counts[2]), 1), said
    if damage == "cut_audio":
        assert re.search(r"without utterance 'u\d'", said), said
    Bundle.load(folder / "out")
