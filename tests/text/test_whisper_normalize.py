"""The normalisers that come with a package of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from asr.cli.main import app
from asr.errors import TextError
from asr.text import whisper_normalize
from asr.text.normalize import NORMALIZERS, normalize
from tests.text.test_normalize import RULE_PIECES

TEXTS = st.one_of(st.text(), st.lists(st.sampled_from([*RULE_PIECES, " twenty one ", " colour ", "[x] "])).map("".join))


@given(text=TEXTS)
def test_english_is_that_of_the_package(text: str) -> None:
    package = pytest.importorskip("whisper_normalizer.english")
    assert normalize(text, "whisper-english") == " ".join(package.EnglishTextNormalizer()(text).split())


@given(text=TEXTS)
def test_basic_is_that_of_the_package(text: str) -> None:
    package = pytest.importorskip("whisper_normalizer.basic")
    assert normalize(text, "whisper-basic") == " ".join(package.BasicTextNormalizer()(text).split())


def test_examples_of_what_whisper_is_scored_with() -> None:
    pytest.importorskip("whisper_normalizer")
    said = "Mr. Brown's colour [noise] cost twenty-one dollars, um, you'll see."
    assert normalize(said, "whisper-english") == "mister brown is color cost $21 you will see"
    assert normalize("Caf\u00e9, \u65e5\u672c!", "whisper-basic") == "caf\u00e9 \u65e5\u672c"


def test_models_cannot_be_trained_with_them() -> None:
    assert not {"whisper-english", "whisper-basic"} & set(NORMALIZERS)


@pytest.mark.parametrize("name", ["whisper-english", "whisper-basic"])
def test_without_the_package_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("whisper_normalizer")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "whisper_normalizer", None)
    whisper_normalize._english.cache_clear()
    whisper_normalize._basic.cache_clear()
    with pytest.raises(TextError, match=rf"'{name}' .* pip install whisper-normalizer, or 'asr-toolkit\[whisper-"):
        normalize("a", name)


def test_asr_score_takes_them_and_puts_them_on_record(tmp_path: Path) -> None:
    pytest.importorskip("whisper_normalizer")
    (tmp_path / "ref.txt").write_text("MISTER BROWN PAID TWENTY ONE DOLLARS\n")
    (tmp_path / "hyp.txt").write_text("Mr. Brown paid $21.\n")
    files = [str(tmp_path / name) for name in ("ref.txt", "hyp.txt")]
    result = CliRunner().invoke(app, ["score", *files, "--normalize", "whisper-english"])
    assert result.exit_code == 0, result.output
    assert "0.00" in result.output
    assert "whisper-english" in result.output
