"""The HTML report, read as a browser reads it: its markup, and the data its script gets."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.io import load_audio, write_wav
from asr.errors import ScoringError
from asr.scoring.html import report as html_report
from asr.scoring.html.media import marked_words, worst_utterances
from asr.scoring.html.report import write_files_html, write_html
from asr.scoring.results import gather
from asr.scoring.rules import Rules
from asr.scoring.texts import open_texts
from asr.scoring.wer import score
from asr.types import Utterance, Word

VOID = {"meta", "input"}
REFERENCES = {"a": "one two three", "b": "four five", "c": ""}
HYPOTHESES = {"a": "one too", "b": "four five", "c": "uh"}


class Page(HTMLParser):
    """Every element with its attributes, and the text inside each kind of element."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, text):
        for tag in set(self.open):
            self.texts[tag][-1] += text

    @property
    def data(self):
        return json.loads(self.texts["script"][0])


@pytest.fixture(scope="module", autouse=True)
def commit():
    """Asking git takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_report, "toolkit_state", lambda: "0123abc")
        yield


@pytest.fixture
def write(tmp_path):
    def call(
        references=REFERENCES, hypotheses=HYPOTHESES, second=None, title="t", facts=None, speakers=None, **options
    ):
        first = score(references, hypotheses, speakers=speakers)
        results = gather(first, score(references, second, speakers=speakers) if second else None)
        folder = tmp_path / "page"
        problems = write_html(results, folder / "report.html", title=title, facts=facts or {}, **options)
        page = Page((folder / "report.html").read_text(encoding="utf-8"))
        page.problems = problems
        return page

    return call


@pytest.fixture
def sphere(tmp_path):
    """An utterance in a format that browsers do not play: half a second of 1 kHz."""
    waveform = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000)).astype(np.float32)
    soundfile.write(tmp_path / "a.sph", waveform, 16000, format="NIST", subtype="PCM_16")
    return Utterance("a", tmp_path / "a.sph", 0.5)


def rows_of(page, heading):
    """The table cells in the text of the section under a heading."""
    return next(text for text in page.texts["section"] if text.startswith(heading))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5), st.text())
def test_texts_come_out_of_the_page_as_they_went_in(tmp_path_factory, pairs, title):
    references = {f"{row}{said}": said for row, (said, _) in enumerate(pairs)}
    hypotheses = {f"{row}{reference}": hypothesis for row, (reference, hypothesis) in enumerate(pairs)}
    result = score(references, hypotheses)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(gather(result), path, title=title, facts={title: title})
    data = Page(path.read_bytes().decode()).data
    assert data["ids"] == list(references)
    assert data["references"] == list(result.references)
    (system,) = data["systems"]
    for row, (shown, operations) in enumerate(zip(system["hypotheses"], system["operations"], strict=True)):
        assert (shown if operations else data["references"][row]) == result.hypotheses[row]
        assert operations == result.operations[row] or (not operations and set(result.operations[row]) <= {"="})


def test_half_a_surrogate_pair_is_written_as_json_writes_it(write):
    assert write({"a": "x"}, {"a": "\ud800"}).data["systems"][0]["hypotheses"] == ["\ud800"]


def test_no_text_becomes_markup(write):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'<!--"
    page = write(
        {attack: attack}, {attack: f"{attack} b"}, title=attack, facts={attack: attack}, speakers={attack: attack}
    )
    plain = write({"a": "a"}, {"a": "a b"}, title="t", facts={"t": "t"}, speakers={"a": "a"})
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.texts["title"] == [attack]


def test_the_policy_allows_the_script_of_the_page_and_no_network(write):
    page = write()
    policy = next(values["content"] for _, values in page.elements if values.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.texts["script"][1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert not [values for _, values in page.elements if {"src", "href"} & set(values)]


def test_figures_are_those_of_the_score(write):
    page = write(facts={"Model": "exp/a"})
    overall = rows_of(page, "Overall")
    assert re.search(r"WER60\.00.*?5\s*3\s*1\s*1\s*1", overall.replace("\n", " ")), overall
    text = page.texts["main"][0]
    for shown in (
        "66.67 %",
        "2 of 3 utterances",
        "Normalisernone",
        "Alignmentlevenshtein",
        "Modelexp/a",
        "two \u2192 too",
    ):
        assert shown in text


def test_speakers_have_a_table_where_they_are_known(write):
    assert "by speaker" not in "".join(write().texts["h2"])
    page = write(speakers={"a": "Ann", "b": "Ben", "c": None})
    assert "Ann1" in rows_of(page, "WER by speaker")
    assert page.data["speakers"] == ["Ann", "Ben"]
    assert page.data["speaker"] == [0, 1, -1]
    assert [values["data-speaker"] for _, values in page.elements if "data-speaker" in values] == ["Ann", "Ben"]


def test_parts_of_the_score_are_rows_of_the_first_table(write):
    part = score({"a": "x y"}, {"a": "x"})
    assert "WER, new (1 utterance)50.00" in rows_of(write(parts={"new": part}), "Overall")


def test_two_systems_stand_beside_each_other(write):
    page = write(second={"a": "one two", "b": "four", "c": ""})
    assert [system["name"] for system in page.data["systems"]] == ["A", "B"]
    assert page.data["systems"][1]["operations"] == ["==D", "=D", ""]
    assert "WER of B40.00" in rows_of(page, "Overall")
    assert any("than A" in text for text in page.texts["p"])


def test_each_system_is_shown_with_the_alternative_it_was_compared_with(tmp_path):
    rules = Rules(markup=True)
    first, second = (score({"a": "{ b / c } d"}, {"a": text}, rules=rules) for text in ("b x", "c x"))
    write_html(gather(first, second), tmp_path / "r.html", title="", facts={})
    data = Page((tmp_path / "r.html").read_text()).data
    assert data["references"] == ["b d"]
    assert [system["references"] for system in data["systems"]] == [{}, {"0": "c d"}]


def test_of_too_many_utterances_those_with_the_most_errors_are_listed(write, monkeypatch):
    monkeypatch.setattr(html_report, "MAX_LISTED", 2)
    page = write()
    assert page.data["ids"] == ["a", "c"]
    assert "the 2 with the most errors" in page.texts["footer"][0]


def test_the_worst_have_the_most_errors_and_of_as_many_the_fewest_words():
    references = {"long": "a b c d", "right": "a", "short": "a b", "worse": "a b c"}
    hypotheses = {"long": "a b c", "right": "a", "short": "a", "worse": "a"}
    assert worst_utterances(score(references, hypotheses), 9) == ["worse", "short", "long"]
    assert worst_utterances(score(references, hypotheses), 1) == ["worse"]


def test_audio_that_browsers_play_is_a_relative_link(write, tmp_path):
    path = tmp_path / "sound #1?.wav"
    write_wav(path, np.zeros(8000, np.float32), 8000)
    whole = [Utterance("a", path, 1.0)]
    parts = [Utterance("a", path, 0.4), Utterance("b", path, 0.6, start=0.4)]
    assert write(utterances=whole).data["audio"] == ["../sound%20%231%3F.wav", 0, 0]
    link = "../sound%20%231%3F.wav"
    assert write(utterances=parts).data["audio"][:2] == [f"{link}#t=0.000,0.400", f"{link}#t=0.400,1.000"]
    assert write(utterances=parts).data["notes"] == ["The manifest does not have this utterance."]


def test_audio_of_the_worst_that_browsers_do_not_play_is_in_the_page(write, sphere):
    pytest.importorskip("matplotlib")
    page = write(utterances=[sphere], worst={"a": ()})
    kind, content = page.data["audio"][0].split(",")
    assert kind == "data:audio/flac;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(samples, load_audio(sphere.audio), atol=2**-15)
    assert page.data["pictures"]["0"]["seconds"] == 0.5
    assert page.data["pictures"]["0"]["hertz"] == 8000


def test_other_audio_that_browsers_do_not_play_has_a_note(write, sphere):
    data = write(utterances=[sphere]).data
    assert (
        data["notes"][data["audio"][0]]
        == "Browsers do not play .sph files; --worst puts more utterances into the page."
    )
    assert data["pictures"] == {}


def test_a_sphere_file_called_wav_is_no_link(write, sphere):
    renamed = sphere.audio.rename(sphere.audio.with_suffix(".wav"))
    assert write(utterances=[Utterance("a", renamed, 0.5)]).data["audio"][0] == 0


def test_missing_audio_is_told_and_stops_nothing(write, tmp_path):
    page = write(utterances=[Utterance("a", tmp_path / "gone.wav", 1.0)], worst={"a": ()})
    assert page.problems == [f"{tmp_path}/gone.wav: cannot be opened (No such file or directory)"]
    assert page.data["notes"][page.data["audio"][0]] == page.problems[0]


def test_of_many_missing_files_a_few_are_named(write, tmp_path):
    texts = {f"u{row}": "a" for row in range(9)}
    page = write(texts, texts, utterances=[Utterance(name, tmp_path / name, 1.0) for name in texts])
    assert len(page.problems) == 6
    assert page.problems[-1] == "and 4 more problems of this kind"


def test_a_damaged_file_keeps_its_link_and_has_no_picture(write, tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"noise")
    page = write(utterances=[Utterance("a", tmp_path / "a.mp3", 1.0)], worst={"a": ()})
    assert page.data["audio"][0] == "../a.mp3"
    assert page.data["pictures"] == {}
    assert len(page.problems) == 1


def test_a_manifest_of_other_utterances_is_refused(write, sphere):
    with pytest.raises(ScoringError, match="none of the utterances"):
        write({"x": "a"}, {"x": "a"}, utterances=[sphere])


def test_without_matplotlib_one_line_says_what_to_install(write, sphere, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    page = write(utterances=[sphere], worst={"a": ()})
    assert page.problems == ["spectrograms need matplotlib: pip install 'asr-toolkit[plots]'"]
    assert page.data["audio"][0].startswith("data:audio/flac")


WORDS = [Word(0.1, 0.2, "One", 0.5), Word(0.3, 0.5, "TOO!")]


def test_words_of_a_picture_carry_their_errors_and_those_that_were_deleted():
    result = score({"a": "zero one two three"}, {"a": "One TOO!"}, normalize="basic")
    assert marked_words(result, 0, WORDS) == [
        (0.1, 0.2, "One", "=", 0.5),
        (0.3, 0.5, "TOO!", "S", None),
        (0.1, 0.1, "zero", "D", None),
        (0.5, 0.5, "three", "D", None),
    ]


def test_a_word_that_the_normaliser_splits_is_wrong_if_a_part_is():
    result = score({"a": "we will"}, {"a": "we'd"}, normalize="none")
    assert marked_words(result, 0, [Word(0, 1, "we'd")])[0][3] == "S"
    result = score({"a": "we will"}, {"a": "we're"}, normalize="english")
    assert marked_words(result, 0, [Word(0, 1, "we're")]) == [(0, 1, "we're", "S", None)]


def test_words_that_are_not_those_of_the_score_carry_no_errors():
    result = score({"a": "database"}, {"a": "data base"}, rules=Rules(merge_compounds=True))
    words = [Word(0, 1, "data"), Word(1, 2, "base")]
    assert [word[3] for word in marked_words(result, 0, words)] == ["", ""]


def test_files_with_times_of_words_give_them_to_the_worst(tmp_path):
    pytest.importorskip("matplotlib")
    write_wav(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    (tmp_path / "ref.trn").write_text("one two (a)\n")
    (tmp_path / "hyp.ctm").write_text("a 1 0.5 0.25 too 0.75\na 1 0.1 0.2 one\n")
    texts = open_texts(tmp_path / "ref.trn", tmp_path / "hyp.ctm")
    result = score({"a": "one two"}, {"a": "one too"})
    utterances = [Utterance("a", tmp_path / "a.wav", 1.0)]
    for count, pictures in ((0, {}), (1, [[0.1, 0.1 + 0.2, "one", "=", None], [0.5, 0.75, "too", "S", 0.75]])):
        write_files_html(gather(result), tmp_path / "r.html", texts, utterances, count)
        page = Page((tmp_path / "r.html").read_text())
        assert page.data["pictures"] == {} if not count else page.data["pictures"]["0"]["words"] == pictures
    assert page.texts["h1"] == ["hyp.ctm against ref.trn"]
    assert f"Reference{tmp_path}/ref.trn (trn)" in page.texts["main"][0]
