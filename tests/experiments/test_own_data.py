"""`asr train DATA --from MODEL`: a folder of recordings and a table become a run, and the YAML that it equals."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.cli.main import main
from asr.config import load_spec
from asr.data.manifest import read_manifest
from asr.experiments.own_data import choose
from asr.types import Utterance
from tests.bundle.foreign.whisper_files import multilingual_model

TEXTS = ("one two three", "four five", "six seven", "eight nine", "zero", "one two")


@pytest.fixture
def corpus(workspace: Path) -> Path:
    """A folder of six recordings by three speakers, and a list of them."""
    (workspace / "mine").mkdir()
    (workspace / "audio").rename(workspace / "mine" / "audio")
    rows = [f"audio/{number}.wav,{text},s{number % 3}\n" for number, text in enumerate(TEXTS)]
    (workspace / "mine" / "list.csv").write_text("".join(["audio,text,speaker\n", *rows]), encoding="utf-8")
    return workspace


def run(line: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(line.split()[1:])
    return int(leaving.value.code or 0)


def test_one_command_makes_a_model_of_a_folder_and_says_what_it_chose(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("asr train mine --from model --out exp/mine --device cpu --set training.epochs=1") == 0
    said = capsys.readouterr().err
    folder = Path("exp/mine.data")
    speakers = [{row.speaker for row in read_manifest(folder / f"{part}.jsonl")} for part in ("train", "dev", "test")]
    assert sorted(map(len, speakers)) == [1, 1, 1]
    assert len(set.union(*speakers)) == 3
    reasons = (folder / "experiment.yaml").read_text(encoding="utf-8")
    assert "# learning rate 0.0003: model is a model of this toolkit" in reasons
    assert "learning rate 0.0003: model is a model of this toolkit" in said
    assert "expect little" in said
    weights = Path("exp/mine/model.safetensors").read_bytes()
    assert run("asr train exp/mine.data/experiment.yaml --out exp/same --device cpu --set training.epochs=1") == 0
    assert Path("exp/same/model.safetensors").read_bytes() == weights
    assert run("asr train mine --from model --out exp/mine --device cpu --set training.epochs=1 --resume") == 0
    assert Path("exp/mine/model.safetensors").read_bytes() == weights
    assert run("asr evaluate exp/mine exp/mine.data/test.jsonl --device cpu") == 0


def test_what_cannot_be_used_is_one_line(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "empty").mkdir()
    for line, message in (
        ("asr train empty --from model --out exp/a", "empty: of no known format"),
        ("asr train mine --from modle --out exp/a", "did you mean"),
        ("asr train gone --from model --out exp/a", "gone: there is no such file or folder"),
    ):
        assert run(line) == 1
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert run("asr train mine --from model --out exp/b --device cpu --set training.epochs=1") == 0
    capsys.readouterr()
    assert run("asr train mine --from model --out exp/b --device cpu") == 1
    assert "exp/b.data/experiment.yaml: exists already" in capsys.readouterr().err
    assert run("asr train mine --from model --out model --device cpu") == 1
    assert "model: the folder is not empty" in capsys.readouterr().err
    assert not Path("model.data").exists()


def test_settings_follow_hours_and_language(tmp_path: Path) -> None:
    multilingual_model(tmp_path / "source", tmp_path / "whisper")
    spec = load_spec(tmp_path / "whisper" / "config.yaml")

    def rows(hours: float, lang: str | None) -> list[Utterance]:
        return [Utterance(f"u{number}", Path("a.wav"), 10.0, "x", lang=lang) for number in range(round(360 * hours))]

    little, much = (choose(spec, "whisper", tmp_path, rows(hours, "de")) for hours in (0.1, 20.0))
    assert little.settings["training"]["epochs"] > much.settings["training"]["epochs"]
    assert little.settings["data"]["max_batch_seconds"] < much.settings["data"]["max_batch_seconds"]
    assert {head["language"] for head in much.settings["heads"]} == {"de"}
    assert "heads" not in choose(spec, "whisper", tmp_path, rows(1.0, "en")).settings
    assert any(
        "no row says its language" in reason for reason in choose(spec, "whisper", tmp_path, rows(1, None)).reasons
    )
