import contextlib
import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import ScoringError
from asr.scoring.pairing import TextRow
from asr.scoring.results import score_files
from asr.scoring.rules import Rules
from asr.scoring.texts import FORMATS, open_texts

IDS = ["an4-1", "an4-2"]
WORDS = {"an4-1": "ONE TWO", "an4-2": ""}

# The same two utterances as every format writes them.
FILES = {
    "lines": ("ref.txt", "ONE TWO\n\n"),
    "kaldi": ("text", "an4-1 ONE TWO\nan4-2\n"),
    "tsv": ("ref.tsv", "an4-1\tONE TWO\tignored\nan4-2\t\n"),
    "jsonl": ("ref.jsonl", '{"id": "an4-1", "text": "ONE TWO"}\n{"id": "an4-2", "text": "", "audio": "b.wav"}\n'),
    "trn": ("ref.trn", "ONE TWO (an4-1)\n(an4-2)\n"),
    "ctm": ("ref.ctm", ";; comment\nan4-1 1 0.5 0.2 TWO 0.9\nan4-1 1 0.1 0.2 ONE\n"),
    "stm": ("ref.stm", "an4-1 A anna 2.0 3.0 <o,f0> TWO\nan4-1 A anna 0.0 2.0 <o,f0> ONE\nan4-2 1 bea 0 1\n"),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, format_name=None):
    _, hypothesis = open_texts(path, path, format_name=format_name)
    return {row.id: " ".join(row.text.split()) for row in hypothesis.rows()}


def formats(reference, hypothesis):
    return [file.format for file in open_texts(reference, hypothesis)]


def expected(format_name):
    if format_name == "lines":
        return {"1": "ONE TWO", "2": ""}
    return {"an4-1": "ONE TWO"} if format_name == "ctm" else WORDS


def test_every_format_has_an_example_here():
    assert set(FILES) == set(FORMATS)


@pytest.mark.parametrize("format_name", sorted(FILES))
def test_each_format_is_detected_and_read(format_name, tmp_path):
    path = write(tmp_path, *FILES[format_name])
    assert formats(path, path) == [format_name] * 2
    assert read(path) == expected(format_name)


@pytest.mark.parametrize("format_name", sorted(FILES))
def test_each_format_can_be_forced_whatever_the_suffix(format_name, tmp_path):
    assert read(write(tmp_path, "words.dat", FILES[format_name][1]), format_name) == expected(format_name)


@pytest.mark.parametrize("format_name", ["kaldi", "tsv", "jsonl", "trn"])
def test_formats_told_by_their_content_are_detected_without_a_suffix(format_name, tmp_path):
    path = write(tmp_path, "words.txt", FILES[format_name][1])
    assert formats(path, path) == [format_name] * 2


@pytest.mark.parametrize("content", ["a 1\nb 2\n", "1 one\n2 two\n", "a-1 x\na-1 y\n", "yes (uh)\nno\n", "\n", ""])
def test_lines_whose_first_words_are_no_distinct_ids_are_plain_lines(content, tmp_path):
    path = write(tmp_path, "words.txt", content)
    assert formats(path, path) == ["lines"] * 2
    assert len(read(path)) == content.count("\n")


def test_a_file_that_does_not_tell_is_kaldi_text_if_the_other_has_ids(tmp_path):
    reference = write(tmp_path, "ref.jsonl", '{"id": "anna", "text": "yes"}\n')
    hypothesis = write(tmp_path, "hyp.txt", "anna no\n")
    assert formats(reference, hypothesis) == ["jsonl", "kaldi"]
    assert formats(hypothesis, hypothesis) == ["lines", "lines"]


def test_the_references_of_a_hypotheses_file_are_its_reference_texts(tmp_path):
    path = write(tmp_path, "hypotheses.jsonl", '{"id": "u", "text": "no", "reference": "yes"}\n')
    rows = [list(file.rows()) for file in open_texts(path, path)]
    assert rows == [[TextRow("u", "yes")], [TextRow("u", "no")]]


def test_the_speaker_is_that_of_a_jsonl_row_or_of_all_segments_of_a_recording(tmp_path):
    jsonl = write(tmp_path, "a.jsonl", '{"id": "u", "text": "x", "speaker": "anna"}\n{"id": "v", "text": "x"}\n')
    stm = write(tmp_path, "a.stm", "u A anna 0 1 x\nu A anna 1 2 x\nv A anna 0 1 x\nv A bea 1 2 x\n")
    for path in (jsonl, stm):
        assert [row.speaker for row in open_texts(path)[0].rows()] == ["anna", None]


def test_comments_in_trn_are_no_utterances(tmp_path):
    assert read(write(tmp_path, "a.trn", ";; made by hand\nx (u)\n")) == {"u": "x"}


def test_a_pipe_is_read_like_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("u-1 yes\nu-2 no\n",))
    writer.start()
    (file,) = open_texts(pipe)
    writer.join()
    assert (file.format, [row.text for row in file.rows()]) == ("kaldi", ["yes", "no"])


def test_another_channel_is_part_of_the_id(tmp_path):
    path = write(tmp_path, "hyp.ctm", "call A 0 1 YES\ncall B 0 1 NO\n")
    assert read(path) == {"call": "YES", "call-B": "NO"}


def test_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    assert read(write(tmp_path, "hyp.txt", b"\xef\xbb\xbfYES\r\nNO")) == {"1": "YES", "2": "NO"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": "u", "text": "x"}\n{"id": ', r"a\.jsonl:2: not a line of JSON"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: expected an object"),
        ("a.jsonl", '{"id": "u"}\n', r'a\.jsonl:1: "text" is missing'),
        ("a.jsonl", '{"id": 7, "text": "x"}\n', r'a\.jsonl:1: "id" is missing or not a string'),
        ("a.trn", "ONE (u)\nTWO\n", r"a\.trn:2: expected 'words \(id\)'"),
        ("a.tsv", "u x\n", r"a\.tsv:1: expected an id, a tab"),
        ("a.ctm", "u 1 0.0 0.1 YES\nu 1 zero 0.1 YES\n", r"a\.ctm:2: expected 'file channel start"),
        ("a.ctm", "u 1 0.0 0.1\n", r"a\.ctm:1: expected 'file channel start"),
        ("a.stm", "u 1 anna 0.0\n", r"a\.stm:1: expected 'file channel speaker"),
        ("a.stm", "u 1 anna 2.0 1.0 x\n", r"a\.stm:1: the segment ends at 1\.0 s, before it starts at 2\.0 s"),
        ("a.ctm", "u 1 0.0 0.1 two words\n", r"a\.ctm:1: expected 'file .*, one word a line"),
        ("a.ctm", "u 1 0.0 0.1 YES 0.9 lex anna more\n", r"a\.ctm:1: expected 'file .*, one word a line"),
        ("a.tsv", "u\tyes\nv\tI said\tso\n", r"a\.tsv:2: 3 columns, the first line has 2; is a tab in the text"),
        ("a.jsonl", '{"id": "u", "text": "x", "text": "y"}\n', r"a\.jsonl:1: the key 'text' stands there twice"),
        ("a.txt", b"\xff\xfea\0b", r"a\.txt: not UTF-16 text"),
        ("a.txt", b"YES\n\xff\n", r"a\.txt:2: not UTF-8"),
        ("a.jsonl", '{"id": "u", "text": "x", "speaker": 3}\n', r'a\.jsonl:1: "speaker" is not a string'),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_place(name, content, message, tmp_path):
    path = write(tmp_path, name, content)
    with pytest.raises(ScoringError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "format"),
    [
        ("100 yes\n101 no\n", "100 yes\n101 oh no\n", "kaldi"),
        ("100 yes\n101 no\n", "101\n100 yes\n", "kaldi"),
        ("100 yes\n101 no\n", "101 no\n", "kaldi"),
        ("0007 yes\n0010 no\n", "0010 no\n0007 yes\n", "kaldi"),
        ("100 yes\n101 no\n", "102 yes\n103 no\n", "lines"),
        ("100 yes\n100 no\n", "100 yes\n100 no\n", "lines"),
        ("100 yes\n101 no\n", "yes\nno\n", "lines"),
        ("12 yes\n13 no\n", "12 yes\n13 no\n", "lines"),
        ("100\n101\n", "100\n101\n", "lines"),
    ],
)
def test_numbers_are_ids_where_both_files_have_them(reference, hypothesis, format, tmp_path):
    files = write(tmp_path, "ref", reference), write(tmp_path, "hyp", hypothesis)
    assert formats(*files) == [format] * 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("format_name", sorted(FILES))
def test_byte_order_marks_of_every_kind_are_no_text(format_name, encoding, tmp_path):
    name, content = FILES[format_name]
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    assert read(write(tmp_path, name, (mark + content).encode(encoding))) == expected(format_name)


def test_what_references_exclude_from_scoring_is_left_out_on_both_sides(tmp_path):
    reference = write(
        tmp_path,
        "ref.stm",
        "talk 1 anna 0 2 <o,f0> we begin\n"
        "talk 1 inter_segment_gap 2 4 <o,f0> ignore_time_segment_in_scoring\n"
        "talk 1 anna 4 6 <o,f0> we end\n"
        "song 1 inter_segment_gap 0 9 <o,f0> IGNORE_TIME_SEGMENT_IN_SCORING\n",
    )
    words = {"we": 0.5, "begin": 1.5, "laughter": 2.5, "across": 3.9, "end": 5.0}
    ctm = "".join(f"talk 1 {start} 0.6 {word}\n" for word, start in words.items()) + "song 1 1 1 la\n"
    hypothesis = write(tmp_path, "hyp.ctm", ctm)
    scored = score_files(*open_texts(reference, hypothesis), Rules())
    assert dict(zip(scored.ids, zip(scored.references, scored.hypotheses, strict=True), strict=True)) == {
        "talk": ("we begin we end", "we begin across end"), "song": ("", "")
    }  # fmt: skip
    again = score_files(*open_texts(reference, write(tmp_path, "hyp.stm", reference.read_text())), Rules())
    assert (again.words.errors, again.words.hits) == (0, 4)


def test_words_without_times_cannot_be_told_from_what_is_not_to_be_scored(tmp_path):
    reference = write(tmp_path, "ref.stm", "talk-1 1 x 2 4 ignore_time_segment_in_scoring\n")
    for name, content in {"hyp.txt": "talk-1 yes\n", "hyp.jsonl": '{"id": "talk-1", "text": "yes"}\n'}.items():
        with pytest.raises(ScoringError, match=r"hyp\.\w+ read as \w+: its words have no times"):
            score_files(*open_texts(reference, write(tmp_path, name, content)), Rules())


def test_ids_that_are_paths_match_by_the_name_of_the_file(tmp_path):
    reference = write(tmp_path, "ref.txt", "utt-1 yes\nb/utt-2 no\nutt-3.x oh\n")
    listed = "audio/a/utt-1.wav\tyes\n/data/b/utt-2.flac\tno no\naudio/utt-3.x.mp3\toh\n"
    scored = score_files(*open_texts(reference, write(tmp_path, "hyp.tsv", listed)), Rules())
    assert (scored.words.hits, scored.words.insertions, len(scored.ids)) == (3, 1, 3)
    same = score_files(*open_texts(write(tmp_path, "ref.tsv", listed), write(tmp_path, "hyp.tsv", listed)), Rules())
    assert (same.words.hits, same.words.errors) == (4, 0)
    with pytest.raises(ScoringError, match="1 id occurs more than once: utt-1"):
        score_files(*open_texts(reference, write(tmp_path, "hyp.tsv", "x/utt-1.wav\ta\ny/utt-1.wav\tb\n")), Rules())
    with pytest.raises(ScoringError, match=r"hypotheses have no reference: x/other\.wav"):
        score_files(*open_texts(reference, write(tmp_path, "hyp.tsv", "x/other.wav\ta\n")), Rules())


def test_a_missing_file_a_folder_and_an_unknown_format_are_named(tmp_path):
    good = write(tmp_path, "a.txt", "YES\n")
    for bad in (tmp_path / "missing.txt", tmp_path):
        with pytest.raises(ScoringError, match=f"{bad}: cannot read the texts"):
            open_texts(good, bad)
    with pytest.raises(ScoringError, match="unknown format 'kaldy'; did you mean 'kaldi'"):
        open_texts(good, good, format_name="kaldy")


@given(content=st.one_of(st.binary(max_size=60), st.text('an1-\t\n (){}":;.0A', max_size=60).map(str.encode)))
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.trn", "a.ctm", "a.stm", "a.tsv"])
def test_any_content_is_read_or_refused_with_a_clear_error(name, content, tmp_path_factory):
    path = write(tmp_path_factory.getbasetemp(), name, content)
    with contextlib.suppress(ScoringError):
        assert all(isinstance(text, str) for text in read(path).values())


@given(
    st.dictionaries(st.from_regex(r"[a-z]+-[0-9]+", fullmatch=True), st.lists(st.text("abé日", min_size=1)), min_size=1)
)
def test_what_is_written_as_kaldi_text_trn_or_jsonl_comes_back(tmp_path_factory, words):
    texts = {id: " ".join(row) for id, row in words.items()}
    folder = tmp_path_factory.getbasetemp()
    contents = {
        "text": "".join(f"{id} {text}\n" for id, text in texts.items()),
        "hyp.trn": "".join(f"{text} ({id})\n" for id, text in texts.items()),
        "hyp.jsonl": "".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in texts.items()),
    }
    for name, content in contents.items():
        assert read(write(folder, name, content)) == texts
