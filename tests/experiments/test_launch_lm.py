"""From a configuration file to the folder of a language model, interrupted or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.lm import LmBundle
from asr.errors import AsrError, BundleError, ConfigError, TextError, TrainingError
from asr.experiments import launch
from asr.experiments.lm_task import LANGUAGE_MODEL
from asr.experiments.summary import summarize
from asr.training.trainer import Trainer

CONFIG = """
seed: 3
model: model
data: {train: [train.jsonl, more.txt], dev: [dev.jsonl], max_batch_tokens: 12}
language_model: {name: lstm, dim: 12, num_layers: 2, dropout: 0.2}
optimizer: {lr: 0.01}
training: {epochs: 3, checkpoint_every: 2, log_every: 1, accumulation: 2, average_num: 2, ema_decay: 0.9}
"""


class Killed(BaseException):
    """Stands for a process that ends without a chance to do anything."""


@pytest.fixture
def folder(workspace: Path) -> Path:
    """A working directory with `lm.yaml` and what it names."""
    Path("lm.yaml").write_text(CONFIG, encoding="utf-8")
    Path("more.txt").write_text("one two\n\n  \nnine\tnine\n", encoding="utf-8")
    return workspace


def nothing(_trainer: Trainer[Any]) -> None:
    pass


def train(out: str, *overrides: str, resume: bool = False, on_step: Callable[[Trainer[Any]], None] = nothing) -> None:
    launch.train(
        Path("lm.yaml"),
        Path(out),
        kind=LANGUAGE_MODEL,
        overrides=overrides,
        resume=resume,
        device="cpu",
        on_step=on_step,
    )


def records(out: str) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    lines = Path(out, "training", "train.jsonl").read_text(encoding="utf-8").splitlines()
    clocks = ("seconds", "tokens_per_second", "waited_share")
    return [{key: value for key, value in json.loads(line).items() if key not in clocks} for line in lines]


def test_a_language_model_is_a_folder_of_its_own_in_the_tokens_of_the_acoustic_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("lm")
    said = capsys.readouterr().err
    assert "6 sentences" in said
    assert "dev perplexity" in said
    assert "tokens/s" in said
    last = records("lm")[-1]
    assert last["kind"] == "average"
    assert f"{last['perplexity']:.3f}" in Path("lm/README.md").read_text(encoding="utf-8")
    shutil.rmtree("model")
    shutil.rmtree("lm/training")
    shutil.move("lm", "elsewhere")
    bundle = LmBundle.load("elsewhere")
    assert bundle.config.provenance is not None
    assert bundle.config.provenance.command == "asr lm train --neural lm.yaml --out lm --device cpu"
    assert bundle.tokenizer.decode(bundle.tokenizer.encode("one two")) == "one two"


def test_the_same_configuration_gives_the_same_weights(folder: Path) -> None:
    train("one")
    train("two")
    assert Path("one/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_killed_run_resumes_to_the_same_weights_and_log_without_the_acoustic_model(name: str, folder: Path) -> None:
    def die(trainer: Trainer[Any]) -> None:
        if trainer.progress.step == 5:
            raise Killed

    heads = ", num_heads: 2, ff_dim: 8" if name == "transformer" else ""
    setting = f"language_model={{name: {name}, dim: 12, dropout: 0.2{heads}}}"
    train("whole", setting)
    with pytest.raises(Killed):
        train("cut", setting, on_step=die)
    shutil.rmtree("model")
    train("cut", setting, resume=True)
    for file in ("model.safetensors", "tokenizer.model"):
        assert Path("whole", file).read_bytes() == Path("cut", file).read_bytes()
    assert records("cut") == records("whole")
    assert len([record for record in records("whole") if record["kind"] == "step"]) > 5


def test_resuming_with_another_configuration_or_into_a_full_folder_is_refused(folder: Path) -> None:
    train("lm", "training.epochs=1")
    with pytest.raises(ConfigError, match="differs from the given configuration in training"):
        train("lm", "training.epochs=2", resume=True)
    with pytest.raises(TrainingError, match="not empty"):
        train("lm")


def test_sentences_that_are_too_long_are_set_aside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("lm", "data.max_tokens=11", "training.epochs=1")
    assert "set aside 1 sentence longer than data.max_tokens 11" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="all sentences are longer"):
        train("other", "data.max_tokens=2")


def test_characters_that_the_tokenizer_lacks_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.txt").write_text("ζ\n", encoding="utf-8")
    train("lm", "training.epochs=1")
    assert "warning: 1 token of the training texts unknown to the tokenizer of model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "error", "complaint"),
    [
        ("model=missing", BundleError, "missing: no such model folder"),
        ("data.train=[missing.txt]", TextError, "missing.txt: cannot read the text"),
        ("data.dev=[empty.txt]", TextError, "empty.txt: there is no text"),
        ("language_model.dimm=3", ConfigError, "unknown key 'language_model.dimm'; did you mean 'dim'?"),
        ("language_model.name=lstn", ConfigError, "did you mean 'lstm'?"),
        ("lr=3", ConfigError, "unknown key 'lr'; did you mean 'optimizer.lr'?"),
        ("data.train=[]", ConfigError, "data.train"),
        ("format_version=99", ConfigError, "format_version 99 is newer"),
    ],
)
def test_a_mistake_is_named_in_one_line_and_nothing_is_written(
    override: str, error: type[AsrError], complaint: str, folder: Path
) -> None:
    Path("empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(error) as caught:
        train("lm", override)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("lm").exists()


def test_folders_of_one_kind_are_not_taken_for_the_other(folder: Path) -> None:
    train("lm", "training.epochs=1")
    with pytest.raises(BundleError, match="no language model"):
        LmBundle.load("model")
    with pytest.raises(BundleError, match="lm: a language model, no acoustic model"):
        Bundle.load("lm")


def test_a_summary_tells_sizes_tokens_data_and_perplexity(folder: Path) -> None:
    train("lm")
    facts = dict(summarize(Path("lm")))
    assert facts["language model"].startswith("lstm (dim 12")
    assert facts["vocabulary"] == "19 tokens (char) of model"
    assert facts["data"] == "train train.jsonl, more.txt, dev dev.jsonl"
    best = min(record["perplexity"] for record in records("lm") if record["kind"] == "epoch")
    assert f"best dev perplexity {best:.2f} (epoch" in facts["training"]
