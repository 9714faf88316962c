"""Texts without audio: which lines are sentences, who they are, and how they become a batch."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from asr.data.manifest import write_manifest
from asr.data.sentences import Sentence, collate_sentences, read_sentences, read_texts, texts_hash
from asr.errors import ManifestError, TextError
from asr.text.tokenizer import CharConfig, train_tokenizer
from asr.types import Utterance


def test_a_line_that_is_not_blank_is_a_sentence_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone two\r\n\r\n \nzwölf\u2028drei\nlast".encode())
    assert list(read_texts(path)) == [
        (f"{path}:1", "one two\r"),
        (f"{path}:4", "zwölf\u2028drei"),
        (f"{path}:5", "last"),
    ]


def test_a_gzipped_file_is_read_and_a_damaged_one_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo"))
    assert [text for _, text in read_texts(path)] == ["one", "two"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TextError, match="cannot read the text"):
        read_texts(path)


def test_a_manifest_gives_its_texts_by_id(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [Utterance("x", tmp_path / "x.wav", 1.0, "one"), Utterance("y", tmp_path / "y.wav", 1.0)]
    write_manifest(path, rows)
    assert list(read_texts(path)) == [("x", "one")]


def test_sentences_of_several_files_are_normalised_and_tokenized_in_order(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CharConfig(), ["one two"])
    for name, text in (("a.txt", "One!\n"), ("b.txt", "two\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    sentences = read_sentences([tmp_path / "b.txt", tmp_path / "a.txt"], tokenizer, "basic")
    assert [tokenizer.decode(sentence.tokens.tolist()) for sentence in sentences] == ["two", "one"]


@pytest.mark.parametrize(
    ("name", "content", "error", "complaint"),
    [
        ("a.txt", b"\xff\xfe\xff", TextError, "not UTF-8"),
        ("a.txt", None, TextError, "cannot read the text"),
        ("a.txt", b"\n\n", TextError, "there is no text"),
        ("a.jsonl", b"{}", ManifestError, "a.jsonl:1"),
    ],
)
def test_a_file_without_usable_text_is_named(
    name: str, content: bytes | None, error: type[Exception], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=complaint):
        read_sentences([path], train_tokenizer(CharConfig(), ["one"]), "none")


def test_the_hash_is_that_of_the_texts_wherever_they_lie(tmp_path: Path) -> None:
    for name, text in (("a", "one\ntwo\n"), ("b", "one\n\ntwo"), ("c", "two\none\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    a, b, c = (texts_hash([tmp_path / name]) for name in "abc")
    assert a == b != c


def test_a_batch_counts_tokens_and_ends() -> None:
    batch = collate_sentences([Sentence("a", torch.tensor([4, 5])), Sentence("b", torch.zeros(0, dtype=torch.int64))])
    assert batch.ids == ("a", "b")
    assert batch.token_lens.tolist() == [2, 0]
    assert batch.tokens[0, :2].tolist() == [4, 5]
    assert batch.num_predictions == 4
