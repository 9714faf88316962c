"""ARPA files: what is read, what is written, and what is refused."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import LmError
from asr.lm.ngram import arpa
from asr.lm.ngram.arpa import LN10, read_arpa, write_arpa
from asr.lm.ngram.model import NgramModel

ARRAYS = ("begins", "labels", "log_probs", "targets", "backoffs", "shorter")

SMALL = """a comment
\\1-grams: is not a section yet
\\data\\
ngram 1=5
ngram 2 = 3

\\1-grams:
-1.0 <unk>
-99\t<s>\t-0.5

-0.6\t</s>
-0.4  a   -0.25
-0.8\tb

\\2-grams:
-0.1\t<s> a
-0.3\ta b
-0.2\tb </s>
\\end\\
"""


@pytest.fixture
def write(tmp_path: Path):
    def to_file(text: str, name: str = "lm.arpa") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return to_file


def log10(model: NgramModel, text: str) -> float:
    return model.sentence_log_prob(text.split()) / LN10


def test_probabilities_and_back_off_weights_add_up(write) -> None:
    model = read_arpa(write(SMALL))
    assert model.order == 2
    assert log10(model, "a b") == pytest.approx(-0.1 - 0.3 - 0.2)
    assert log10(model, "b") == pytest.approx(-0.5 - 0.8 - 0.2)
    assert log10(model, "a what a") == pytest.approx(-0.1 + (-0.25 - 1.0) - 0.4 + (-0.25 - 0.6))


def test_line_ends_blank_lines_gzip_and_missing_newline_change_nothing(write) -> None:
    plain = read_arpa(write(SMALL))
    variants = [
        read_arpa(write(SMALL.replace("\n", "\r\n"), "crlf.arpa")),
        read_arpa(write(SMALL.removesuffix("\n"), "last.arpa")),
        read_arpa(write(SMALL.replace("\t", "   "), "spaces.arpa")),
        read_arpa(write(SMALL.replace("\n-", "\n\n  -"), "blank.arpa")),
        read_arpa(write(SMALL, "packed.arpa.gz")),
    ]
    for other in variants:
        assert other.words == plain.words
        assert all((getattr(plain, name) == getattr(other, name)).all() for name in ARRAYS)


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_blocks_may_end_anywhere(write, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    plain = read_arpa(write(SMALL))
    monkeypatch.setattr(arpa, "BLOCK_BYTES", size)
    other = read_arpa(write(SMALL))
    assert all((getattr(plain, name) == getattr(other, name)).all() for name in ARRAYS)


@pytest.mark.parametrize("section", ["", "\\3-grams:\n", "\\3-grams:\n\n\\4-grams:\n"])
def test_highest_orders_without_ngrams_count_for_nothing(write, section: str) -> None:
    announced = "ngram 2 = 3\nngram 3=0\nngram 4=0\n"
    text = SMALL.replace("ngram 2 = 3\n", announced).replace("\\end\\", section + "\\end\\")
    with pytest.warns(UserWarning, match="the order is 2"):
        model = read_arpa(write(text))
    plain = read_arpa(write(SMALL))
    assert model.order == 2
    assert all((getattr(plain, name) == getattr(model, name)).all() for name in ARRAYS)


def test_back_off_weights_of_the_last_ngrams_count_though_nothing_follows_them(write) -> None:
    text = SMALL.replace("ngram 2 = 3\n", "ngram 2=3\nngram 3=0\n").replace("-0.3\ta b", "-0.3\ta b -0.7")
    model = read_arpa(write(text))
    assert log10(model, "a b") == pytest.approx(-0.1 - 0.3 + (-0.7 - 0.2))


def test_a_back_off_weight_of_the_highest_order_may_be_written_if_it_is_0(write) -> None:
    plain = read_arpa(write(SMALL))
    weighted = read_arpa(write(SMALL.replace("<s> a\n", "<s> a\t0.0\n"), "weighted.arpa"))
    assert all((getattr(plain, name) == getattr(weighted, name)).all() for name in ARRAYS)
    with pytest.raises(LmError, match=r"lm\.arpa:16: 4 fields"):
        read_arpa(write(SMALL.replace("<s> a\n", "<s> a\t-0.5\n")))


def test_ngrams_that_the_header_denies_are_refused(write) -> None:
    text = SMALL.replace("ngram 2 = 3\n", "ngram 2=3\nngram 3=0\n").replace(
        "\\end\\", "\\3-grams:\n-1 <s> a b\n\\end\\"
    )
    with pytest.raises(LmError, match="announces 0 3-grams, the file holds 1"):
        read_arpa(write(text))


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_a_byte_order_mark_changes_nothing(write, name: str) -> None:
    text = SMALL.removeprefix("a comment\n\\1-grams: is not a section yet\n")
    plain, marked = read_arpa(write(text, "plain.arpa")), read_arpa(write("\ufeff" + text, name))
    assert plain.words == marked.words
    assert all((getattr(plain, name) == getattr(marked, name)).all() for name in ARRAYS)


def test_missing_special_words_are_added(write) -> None:
    model = read_arpa(write("\\data\\\nngram 1=1\n\\1-grams:\n-0.5 a\n\\end\\\n"))
    assert model.words == ("a", "<unk>", "<s>", "</s>")
    assert (model.log_probs / LN10).tolist() == pytest.approx([-0.5, -100, -99, -100])
    assert model.start_state == 0


def test_upper_case_unk_is_unk_and_minus_infinity_is_zero_probability(write) -> None:
    model = read_arpa(write("\\data\\\nngram 1=2\n\\1-grams:\n-0.5 <UNK>\n-inf a\n\\end\\\n"))
    assert model.score(0, model.id("?"))[0] == pytest.approx(-0.5 * LN10)
    assert model.score(0, model.id("a"))[0] == pytest.approx(-99 * LN10)


def test_an_ngram_whose_beginning_was_pruned_still_counts(write) -> None:
    text = (
        "\\data\\\nngram 1=5\nngram 2=1\nngram 3=1\n\\1-grams:\n-2 <unk>\n-99 <s> -0.5\n-1 </s>\n-0.4 a -0.25\n"
        "-0.8 b -0.125\n\\2-grams:\n-0.3 b a -0.0625\n\\3-grams:\n-0.1 a b a\n\\end\\\n"
    )
    model = read_arpa(write(text))
    first, last = -0.5 - 0.4, -0.0625 - 0.25 - 1  # the end backs off from "b a", which is a bigram, and from "a"
    assert log10(model, "a b a") == pytest.approx(first + (-0.25 - 0.8) + -0.1 + last)


def test_a_model_survives_writing_and_reading(write, train, tmp_path: Path) -> None:
    rng = random.Random(5)
    sentences = [rng.choices("abcdefg", k=rng.randint(1, 8)) for _ in range(60)]
    model = train(sentences, 4, (0, 0, 1)).model
    for name in ("lm.arpa", "lm.arpa.gz"):
        write_arpa(tmp_path / name, model)
        again = read_arpa(tmp_path / name)
        assert again.words == model.words
        for array in ("begins", "labels", "targets", "shorter"):
            assert (getattr(model, array) == getattr(again, array)).all()
        for array in ("log_probs", "backoffs"):
            np.testing.assert_allclose(getattr(model, array), getattr(again, array), rtol=1e-6, atol=1e-6)


def test_equal_models_make_equal_files(train, tmp_path: Path) -> None:
    model = train([["a", "b"], ["b"]], 2).model
    for name in ("one.arpa.gz", "two.arpa.gz"):
        write_arpa(tmp_path / name, model)
    assert (tmp_path / "one.arpa.gz").read_bytes() == (tmp_path / "two.arpa.gz").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("\\data\\", "data", "there is no line"),
        ("\\end\\", "", "cut short"),
        ("-0.8\tb", "-0.8", r":13: 1 field, expected a number and 1 word"),
        ("-0.3\ta b", "-0.3\ta b -0.5", r":17: 4 fields"),
        ("-0.3\ta b", "-0.3\ta c", r":17: word 'c' is not among the 1-grams"),
        ("-0.3\ta b", "x\ta b", r":17: 'x' is not a number"),
        ("-0.3\ta b", "nan\ta b", r":17: a number is infinite or NaN"),
        ("-0.3\ta b", "0.3\ta b", r":17: the log-probability is above 0"),
        ("-0.3\ta b", "-0.3\t<s> a", r":17: the n-gram already stands in line 16"),
        ("-0.8\tb", "-0.8\ta", r":13: word 'a' comes twice"),
        ("ngram 2 = 3", "ngram 2 = 4", r":5: the header announces 4 2-grams, the file holds 3"),
        ("ngram 2 = 3", "ngram 3 = 3", r":5: expected 'ngram 2=COUNT'"),
        ("\\2-grams:", "\\3-grams:", r":15: section \\3-grams: comes where it should not"),
        ("\\2-grams:", "\\what", r":15: unknown section"),
    ],
)
def test_a_wrong_line_is_named(write, old: str, new: str, complaint: str) -> None:
    assert SMALL.count(old) == 1
    with pytest.raises(LmError, match=complaint) as caught:
        read_arpa(write(SMALL.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_damaged_is_named(write, tmp_path: Path) -> None:
    with pytest.raises(LmError, match=r"missing\.arpa: cannot read"):
        read_arpa(tmp_path / "missing.arpa")
    (tmp_path / "plain.arpa.gz").write_text(SMALL)
    with pytest.raises(LmError, match=r"plain\.arpa.gz: the gzip file is damaged"):
        read_arpa(tmp_path / "plain.arpa.gz")
    whole = gzip.compress(SMALL.encode())
    (tmp_path / "cut.arpa.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LmError, match=r"cut\.arpa.gz: the gzip file is damaged or cut short"):
        read_arpa(tmp_path / "cut.arpa.gz")


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused_in_one_line(write, data) -> None:
    text = bytearray(SMALL.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=4))
    path = write("")
    path.write_bytes(bytes(text))
    try:
        model = read_arpa(path)
    except LmError as refusal:
        complaint = str(refusal)
    else:
        complaint = f"{path}: fine"
        model.sentence_log_prob(["a", "b"])
    assert "\n" not in complaint
    assert complaint.startswith(str(path))


def test_the_model_that_comes_with_an4_loads(corpora: Path) -> None:
    model = read_arpa(corpora / "an4" / "etc" / "an4.ug.lm")
    assert (model.order, len(model.words)) == (2, 107)
    assert log10(model, "YES ZERO") == pytest.approx(-3 * 2.0253, abs=1e-5)
    assert log10(model, "") == pytest.approx(0.0)
