"""`asr score --html` as a person calls it."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from asr.audio.io import write_wav
from asr.cli.score import score
from asr.data.manifest import write_manifest
from asr.types import Utterance

app = typer.Typer()
app.command()(score)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "ref.trn").write_text("one two three (a)\nfour (b)\n")
    (tmp_path / "hyp.trn").write_text("one too three (a)\nfour five (b)\n")

    def call(*flags):
        arguments = [str(tmp_path / "ref.trn"), str(tmp_path / "hyp.trn"), *map(str, flags)]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    return call


def test_the_page_has_the_score_and_the_names_of_the_files(run, tmp_path):
    assert run("--html", tmp_path / "new" / "page.html").exit_code == 0
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "50.00 %" in page
    assert "<title>hyp.trn against ref.trn</title>" in page


def test_a_manifest_gives_the_page_audio_and_missing_files_are_told(run, tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(8000, np.float32), 8000)
    rows = [Utterance(name, tmp_path / f"{name}.wav", 1.0) for name in "ab"]
    write_manifest(tmp_path / "m.jsonl", rows)
    result = run("--html", tmp_path / "page.html", "--manifest", tmp_path / "m.jsonl", "--worst", 0)
    assert '"a.wav"' in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert result.stderr == f"{tmp_path}/page.html: {tmp_path}/b.wav: cannot be opened (No such file or directory)\n"


def test_a_manifest_without_a_page_is_wrong_usage(run, tmp_path):
    result = run("--manifest", tmp_path / "m.jsonl")
    assert result.exit_code == 2
    assert "--html" in result.stderr
