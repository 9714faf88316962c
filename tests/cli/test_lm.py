"""`asr lm train`: n-grams of texts, or a neural model of a configuration, and never a mixture of the two."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from asr.cli.main import main

NEURAL = "lm train --neural lm.yaml --out lm --device cpu"


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit status and all that was said."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main(shlex.split(line))
    captured = capsys.readouterr()
    return leaving.value.code, " ".join((captured.out + captured.err).replace("\u2502", " ").split())


def test_a_neural_model_is_trained_looked_at_and_used_in_both_ways(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run(NEURAL, capsys)
    assert status == 0
    assert "dev perplexity" in said
    status, said = run("info lm", capsys)
    assert status == 0
    assert "best dev perplexity" in said
    for mode in ("fusion", "rescore"):
        search = f"--search ctc_prefix_beam --lm lm --lm-mode {mode}"
        status, said = run(f"evaluate model dev.jsonl --device cpu {search} --out {mode}", capsys)
        assert status == 0, said
        assert (workspace / mode / "wer.json").is_file()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"{NEURAL} train.jsonl", "TEXT: not with --neural"),
        (f"{NEURAL} --order 3 --dev dev.jsonl", "--order, --dev: not with --neural"),
        ("lm train train.jsonl --out lm.arpa --resume", "--resume: only with --neural"),
        ("lm train train.jsonl --out lm.arpa --set seed=2 --threads 1", "--set, --threads: only with --neural"),
        ("lm train --out lm.arpa", "give TEXT files, or --neural CONFIG"),
    ],
)
def test_options_of_the_other_kind_are_wrong_usage(
    line: str, complaint: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run(line, capsys)
    assert status == 2
    assert complaint in said
    assert not Path("lm").exists()
    assert not Path("lm.arpa").exists()


def test_a_mistake_in_the_configuration_is_one_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(f"{NEURAL} --set language_model.dimm=3", capsys)
    assert status == 1
    assert said == "error: lm.yaml: unknown key 'language_model.dimm'; did you mean 'dim'?"


def test_a_neural_model_with_other_tokens_is_refused_by_the_acoustic_model(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(NEURAL, capsys)[0] == 0
    settings = "--set tokenizer.name=word --set training.epochs=1"
    assert run(f"train experiment.yaml --out words --device cpu {settings}", capsys)[0] == 0
    status, said = run("evaluate words dev.jsonl --device cpu --search ctc_prefix_beam --lm lm", capsys)
    assert status == 1
    assert "lm: made for the 19 tokens of model, but this model has 13" in said
