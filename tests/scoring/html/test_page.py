"""The report in a real browser: what its script draws, filters, sorts and counts, as Chromium prints the document."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from asr.scoring.html.report import write_html
from asr.scoring.results import gather
from asr.scoring.wer import score

pytestmark = pytest.mark.slow

REFERENCES = {
    "u10": "a b c d",
    "u9": "nine lives",
    "rtl": "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "bad": "<script>document.title='cracked'</script> x",
    "none": "",
}
HYPOTHESES = {
    "u10": "a x c",
    "u9": "mine lives",
    "rtl": "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "bad": "x <b>x</b>",
    "none": "uh",
}
SPEAKERS = {"u10": "Ann", "u9": "Ben", "rtl": "Ann", "bad": "Ben", "none": "Ben"}


def dump(page: Path, view: str, profile: Path) -> str:
    """The document after the script has run on `page#view`."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    line = [
        browser,
        *flags,
        "--virtual-time-budget=5000",
        "--window-size=1200,900",
        "--dump-dom",
        f"{page.as_uri()}#{view}",
    ]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(gather(score(REFERENCES, HYPOTHESES, speakers=SPEAKERS)), path, title="untouched", facts={})
    return path


@pytest.fixture
def view(page, tmp_path):
    return lambda address: dump(page, address, tmp_path / "profile")


def ids(document: str) -> list[str]:
    return re.findall(r'<article[^>]* data-id="([^"]*)"', document)


def count(document: str) -> str:
    return re.search(r'<output id="count"[^>]*>([^<]*)<', document)[1]


def test_all_utterances_are_listed_the_most_errors_first(view):
    document = view("")
    assert ids(document) == ["bad", "u10", "none", "u9", "rtl"]
    assert count(document) == "5 utterances, 10 words; 6 errors, WER 60.0 %"


def test_errors_have_letters_beside_colours(view):
    document = view("q=u10")
    marks = re.findall(r'<span class="mark">([^<]*)</span>', document)
    assert marks == ["", "S", "", "D"]
    assert 'title="substitution: b \u2192 x"' in document
    assert 'title="deletion: d \u2192 nothing"' in document


def test_a_text_that_looks_like_a_script_is_shown_and_not_run(view):
    document = view("q=bad")
    assert "<title>untouched</title>" in document
    assert "&lt;script&gt;document.title='cracked'&lt;/script&gt;" in document
    assert "<b>x</b>" not in document.partition("<main>")[2].partition('id="data"')[0]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("q=NINE", ["u9"]),
        ("q=u1", ["u10"]),
        ("speaker=Ann", ["u10", "rtl"]),
        ("only=1", ["bad", "u10", "none", "u9"]),
        ("wer=51", ["bad", "none"]),
        ("wer=50", ["bad", "u10", "none", "u9"]),
        ("error=S+b+x", ["u10"]),
        ("error=I+uh", ["none"]),
        ("only=1&speaker=Ben&q=x", ["bad"]),
        ("q=nothing+like+it", []),
        ("sort=wer", ["none", "bad", "u10", "u9", "rtl"]),
        ("sort=longest", ["u10", "u9", "rtl", "bad", "none"]),
        ("sort=shortest", ["none", "u9", "rtl", "bad", "u10"]),
        ("sort=id", ["bad", "none", "rtl", "u9", "u10"]),
        ("sort=order", ["u10", "u9", "rtl", "bad", "none"]),
        ("sort=gain", ["bad", "u10", "none", "u9", "rtl"]),  # with one system there is no such order
    ],
)
def test_the_address_filters_and_sorts(view, address, expected):
    document = view(address)
    assert ids(document) == expected
    if not expected:
        assert count(document) == "No utterance passes the filter."
    elif len(expected) < 5:
        assert count(document).startswith(f"{len(expected)} of 5 utterances")


def test_of_two_systems_the_one_that_lost_most_can_come_first(tmp_path):
    references = {"a": "x y", "b": "x y", "c": "x y"}
    first, second = (
        score(references, texts) for texts in ({"a": "x", "b": "x y", "c": "x y"}, {"a": "x y", "b": "", "c": "x"})
    )
    write_html(gather(first, second), tmp_path / "r.html", title="", facts={})
    assert ids(dump(tmp_path / "r.html", "sort=harm", tmp_path / "profile")) == ["b", "c", "a"]
    assert ids(dump(tmp_path / "r.html", "sort=gain", tmp_path / "profile")) == ["a", "c", "b"]


def test_ten_thousand_utterances_are_drawn_a_piece_at_a_time(tmp_path):
    words = [f"word{number}" for number in range(20)]
    references = {f"utterance-{row}": " ".join(words) for row in range(10_000)}
    hypotheses = {name: " ".join(words[row % 3 :]) for row, name in enumerate(references)}
    write_html(gather(score(references, hypotheses)), tmp_path / "r.html", title="", facts={})
    document = dump(tmp_path / "r.html", "", tmp_path / "profile")
    assert count(document).startswith("10000 utterances, 200000 words; 9999 errors")
    assert 40 <= len(ids(document)) <= 200
