"""From texts to an ARPA file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from asr.errors import AsrError
from asr.experiments.ngram import NgramSettings, parse_prune, train_ngram
from asr.lm.ngram.arpa import read_arpa

pytestmark = pytest.mark.filterwarnings("ignore:.*too little text")
TEXT = "One two three\n\n two three  ONE\nthree!\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def train(*texts: str, **settings: object) -> tuple[str, ...]:
    train_ngram([Path(text) for text in texts], Path("lm.arpa"), NgramSettings(order=2, **settings))
    return read_arpa("lm.arpa").words[3:]


def test_words_are_what_spaces_separate_and_blank_lines_are_no_sentences(folder: Path) -> None:
    report = train_ngram([Path("text.txt")], Path("lm.arpa"), NgramSettings(order=2))
    assert (report.num_sentences, report.num_words, report.num_unknown) == (3, 7, 0)
    assert read_arpa("lm.arpa").words[3:] == ("ONE", "One", "three", "three!", "two")


def test_several_files_gzipped_or_manifests_make_one_text(folder: Path) -> None:
    Path("more.txt.gz").write_bytes(gzip.compress("\ufefffour\n".encode()))
    Path("rows.jsonl").write_text('{"id": "a", "audio": "a.wav", "duration": 1, "text": "five six"}\n')
    assert train("more.txt.gz", "rows.jsonl") == ("five", "four", "six")


def test_texts_are_normalised(folder: Path) -> None:
    assert train("text.txt", normalizer="basic") == ("one", "three", "two")


def test_a_vocabulary_is_the_most_frequent_words_those_of_a_file_or_both(folder: Path) -> None:
    Path("vocab.txt").write_text("two\n\nONE\nseven\n<unk>\n")
    assert train("text.txt", vocab_size=1) == ("three",)
    assert train("text.txt", vocab=Path("vocab.txt")) == ("ONE", "seven", "two")
    assert train("text.txt", vocab=Path("vocab.txt"), vocab_size=1) == ("two",)


def test_the_tokens_of_a_model_can_be_the_words(tiny_workspace: Path, folder: Path) -> None:
    Path("text.txt").write_text("one two\n")
    words = train("text.txt", tokens=tiny_workspace / "model")
    assert words == ("e", "n", "o", "t", "w", "\u2581")


def test_held_out_text_is_scored_with_its_unknown_words(folder: Path) -> None:
    Path("dev.txt").write_text("two four\n")
    report = train_ngram([Path("text.txt")], Path("lm.arpa"), NgramSettings(order=2), Path("dev.txt"))
    assert report.dev is not None
    assert (report.dev.num_sentences, report.dev.num_words, report.dev.num_unknown) == (1, 2, 1)
    assert report.dev.known < report.dev.total
    assert "1 of 2 words unknown (50.00 %)" in report.dev_line()


def test_training_twice_makes_the_same_file(folder: Path) -> None:
    for name in ("one.arpa.gz", "two.arpa.gz"):
        train_ngram([Path("text.txt")], Path(name), NgramSettings(order=3))
    assert Path("one.arpa.gz").read_bytes() == Path("two.arpa.gz").read_bytes()


@pytest.mark.parametrize(
    ("content", "settings", "complaint"),
    [
        (b"one\n\xff\n", {}, "text.txt:2: not UTF-8"),
        (b"one\ntwo <s>\n", {}, "text.txt:2: <s> and </s>"),
        (b"\n \n", {}, "no text"),
        (b"one two\n", {"vocab": Path("text.txt")}, "text.txt:1: 2 words in a line"),
        (b"\n", {"vocab": Path("text.txt")}, "text.txt: the vocabulary is empty"),
        (b"one\n", {"normalizer": "basc"}, "did you mean 'basic'"),
        (b"one\n", {"tokens": Path("nowhere")}, "nowhere: no such model folder"),
    ],
)
def test_what_cannot_be_used_is_named(
    folder: Path, content: bytes, settings: dict[str, object], complaint: str
) -> None:
    Path("text.txt").write_bytes(content)
    with pytest.raises(AsrError) as caught:
        train("text.txt", **settings)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("lm.arpa").exists()


def test_files_that_are_missing_damaged_or_of_another_name_are_named(folder: Path) -> None:
    Path("bad.txt.gz").write_text("plain")
    for text, out, complaint in (
        ("missing.txt", "lm.arpa", "missing.txt: cannot read the text (No such file"),
        ("bad.txt.gz", "lm.arpa", "bad.txt.gz: cannot read the text"),
        ("text.txt", "lm.bin", "lm.bin: the name of a language model ends in .arpa"),
    ):
        with pytest.raises(AsrError) as caught:
            train_ngram([Path(text)], Path(out), NgramSettings())
        assert complaint in str(caught.value)


def test_thresholds_are_numbers_with_commas_or_spaces() -> None:
    assert parse_prune("0,0,1") == parse_prune("0 0 1") == (0, 0, 1)
    with pytest.raises(AsrError, match="expected a number for each order"):
        parse_prune("0,x")
