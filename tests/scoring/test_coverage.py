"""References that a model cannot write are told with their characters and how frequent these are."""

from __future__ import annotations

import pytest

from asr.scoring.coverage import unwritable
from asr.text.tokenizer import Tokenizer, train_tokenizer
from asr.text.tokenizer.char import CharConfig


@pytest.fixture
def capitals() -> Tokenizer:
    return train_tokenizer(CharConfig(), ["GO ON", "STOP"])


def test_references_in_the_alphabet_of_the_model_need_no_warning(capitals):
    assert unwritable(["GO STOP", "", "ON"], capitals) is None
    assert unwritable([], capitals) is None


def test_unknown_characters_are_told_with_their_share(capitals):
    warning = unwritable(["GO 4 STOP", "ON!"], capitals)
    assert warning == "the model cannot write 4 !, 20.0 % of the characters of the references"


def test_letters_of_the_other_case_are_told_as_such(capitals):
    warning = unwritable(["go on"], capitals)
    assert warning == (
        "the model cannot write g o n, 100.0 % of the characters of the references; it writes these letters in the "
        "other case, so give references in that"
    )


def test_of_many_characters_some_are_shown(capitals):
    warning = unwritable(["".join(map(chr, range(0x4E00, 0x4E00 + 50)))], capitals)
    assert warning is not None
    assert " and 10 more, 100.0 %" in warning
