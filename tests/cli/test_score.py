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
    (tmp_path / "ref.trn").write_text("One two three (a-1)\nfour (b-2)\n")
    (tmp_path / "hyp.trn").write_text("one two three (a-1)\nfour five (b-2)\n")

    def call(*flags, ref="ref.trn", hyp="hyp.trn", status=0):
        arguments = [str(tmp_path / ref), str(tmp_path / hyp), *map(str, flags)]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == status
        return result.output

    return call


def test_the_table_shows_rate_interval_counts_and_how_they_came_about(run):
    output = run()
    shown = ("WER", "50.00", "MER 40.00 %", "WIL 55.00 %", "100.00 % of 2 utterances with errors")
    for text in (*shown, "normalize none, align levenshtein", "trn (REF)", "trn (HYP)"):
        assert text in output
    assert "CER" not in output


def test_cer_adds_the_character_error_rate(run):
    assert "CER" in run("--cer")


def test_normalize_changes_the_score_and_is_shown(run):
    assert "25.00" in run("--normalize", "basic")
    assert "normalize basic" in run("--normalize", "basic")


def test_align_changes_how_words_lie_against_each_other(run, tmp_path):
    (tmp_path / "ref.trn").write_text("a b (u)\n")
    (tmp_path / "hyp.trn").write_text("b c (u)\n")
    assert run().splitlines()[1].split()[-5:] == ["2", "0", "2", "0", "0"]
    assert run("--align", "sclite").splitlines()[1].split()[-5:] == ["2", "1", "0", "1", "1"]
    assert "align sclite" in run("--align", "sclite")


def test_json_writes_the_score_and_a_newline(run, tmp_path):
    run("--json", tmp_path / "new" / "score.json")
    content = (tmp_path / "new" / "score.json").read_text()
    assert content.endswith("}\n")
    report = json.loads(content)
    assert report["wer"] == 0.5
    assert not {"by", "frequent_errors", "comparison"} & set(report)


def test_tables_errors_and_comparison_are_in_the_json_when_asked_for(run, tmp_path):
    flags = ("--by", "speaker, length", "--speaker-from-id", "--top", "1", "--compare", tmp_path / "ref.trn")
    output = run(*flags, "--json", tmp_path / "score.json")
    report = json.loads((tmp_path / "score.json").read_text())
    assert [row["name"] for row in report["by"]["speaker"]] == ["a", "b"]
    assert [row["wer"] for row in report["by"]["length"]] == [0.5]
    assert report["frequent_errors"]["insertions"] == [["five", 1]]
    assert (report["wer"], report["comparison"]["wer"], report["comparison"]["second"]["hits"]) == (0.5, 0.0, 4)
    assert report["comparison"]["verdict"] in output
    assert report["ci95_by_speaker"] is not None
    assert "trn (HYP2)" in output


def test_allow_missing_counts_a_missing_hypothesis_as_deletions(run, tmp_path):
    (tmp_path / "part.trn").write_text("One two three (a-1)\n")
    with pytest.raises(ScoringError, match="no hypothesis: b-2"):
        run(hyp="part.trn")
    assert "25.00" in run("--allow-missing", hyp="part.trn")
    assert "1 reference has no hypothesis" in run("--allow-missing", hyp="part.trn")


def test_ids_that_come_twice_are_named_with_the_file_and_how_it_was_read(run, tmp_path):
    (tmp_path / "twice.trn").write_text("One two three (a-1)\nx (a-1)\nfour (b-2)\n")
    with pytest.raises(ScoringError, match=r"twice\.trn read as trn: 1 id occurs more than once: a-1"):
        run(hyp="twice.trn")


def test_format_forces_how_all_files_are_read(run):
    assert "lines (REF), lines (HYP)" in run("--format", "lines")


def test_speakers_come_from_a_file(run, tmp_path):
    (tmp_path / "utt2spk").write_text("a-1 anna\nb-2 bea\n")
    assert "anna" in run("--by", "speaker", "--speakers", tmp_path / "utt2spk")
    (tmp_path / "utt2spk").write_text("a-1 anna\n")
    with pytest.raises(ScoringError, match="1 utterance has no speaker: b-2"):
        run("--speakers", tmp_path / "utt2spk")
    assert "not both" in run("--speakers", tmp_path / "utt2spk", "--speaker-from-id", status=2)


def test_alignments_are_written_or_printed(run, tmp_path):
    run("--alignments", tmp_path / "out.txt")
    expected = "id: (b-2)\nScores: (#C #S #D #I) 1 0 0 1\nREF:  four ****\nHYP:  four five\nEval:      I\n"
    assert expected in (tmp_path / "out.txt").read_text()
    assert expected in run("--alignments", "-")


def test_sclite_s_options_act(run, tmp_path):
    (tmp_path / "ref.trn").write_text("the { data base / table } (uh) well-known um (a-1)\n")
    (tmp_path / "hyp.trn").write_text("the database well known (a-1)\n")

    def errors(*flags):
        return sum(map(int, run(*flags).splitlines()[1].split()[-3:]))

    assert errors() > errors("--markup") > errors("--markup", "--split-hyphens")
    options = ("--markup", "--split-hyphens", "--merge-compounds")
    assert errors(*options[:2]) > errors(*options) == 1
    assert errors(*options, "--hesitations", "um") == 0


def test_the_rule_for_empty_references_is_in_the_help_and_holds(run, tmp_path):
    text = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output.split())
    assert "An empty reference counts as an utterance: the words recognised there are insertions." in text
    (tmp_path / "ref.trn").write_text("(a)\n")
    (tmp_path / "hyp.trn").write_text("x y (a)\n")
    assert run().splitlines()[1].split() == ["WER", "n/a", "0", "0", "0", "0", "2"]
    assert "100.00 % of 1 utterance" in run()
