"""`asr score` as a person calls it: every flag has an effect."""

import json

import pytest
import typer
from typer.testing import CliRunner

from asr.cli.score import score
from asr.errors import ScoringError

app = typer.Typer()
app.command()(score)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "ref.trn").write_text("One two three (a)\nfour (b)\n")
    (tmp_path / "hyp.trn").write_text("one two three (a)\nfour five (b)\n")

    def call(*flags, ref="ref.trn", hyp="hyp.trn"):
        arguments = [str(tmp_path / ref), str(tmp_path / hyp), *map(str, flags)]
        return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout

    return call


def test_the_table_shows_rate_interval_counts_and_how_they_came_about(run):
    output = run()
    for shown in ("WER", "50.00", "2 utterances", "normalize none", "align levenshtein", "trn (REF)", "trn (HYP)"):
        assert shown in output
    assert "CER" not in output


def test_cer_adds_the_character_error_rate(run):
    assert "CER" in run("--cer")


def test_normalize_changes_the_score_and_is_shown(run):
    assert "25.00" in run("--normalize", "basic")
    assert "normalize basic" in run("--normalize", "basic")


def test_json_writes_the_score_and_a_newline(run, tmp_path):
    run("--json", tmp_path / "new" / "score.json")
    content = (tmp_path / "new" / "score.json").read_text()
    assert content.endswith("}\n")
    assert json.loads(content)["wer"] == 0.5


def test_allow_missing_counts_a_missing_hypothesis_as_deletions(run, tmp_path):
    (tmp_path / "part.trn").write_text("One two three (a)\n")
    with pytest.raises(ScoringError, match="no hypothesis: b"):
        run(hyp="part.trn")
    assert "25.00" in run("--allow-missing", hyp="part.trn")


def test_format_forces_how_both_files_are_read(run):
    assert "lines (REF) and lines (HYP)" in run("--format", "lines")
