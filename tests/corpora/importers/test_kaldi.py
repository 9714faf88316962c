"""Kaldi data folders as Kaldi understands them, and what could only be had by running commands refused."""

from __future__ import annotations

import pytest

from asr.errors import ManifestError

WHOLE = {"kaldi/wav.scp": "a one.wav\nb two.flac\n", "kaldi/text": "a HELLO  THERE\nb\n"}


def reasons(result) -> list[str]:
    return [fault.reason for fault in result.faults]


def test_whole_recordings_with_speakers_and_languages(imported, source):
    more = {"kaldi/utt2spk": "a anna\nb b\n", "kaldi/utt2lang": "a en\n"}
    result = imported("kaldi", WHOLE | more)
    assert (result.format, result.faults) == ("kaldi", [])
    a, b = result.utterances
    assert (a.id, a.audio, a.duration, a.text, a.start) == ("a", source / "one.wav", 1.0, "HELLO  THERE", 0.0)
    assert (a.speaker, a.lang) == ("anna", "en")
    assert (b.duration, b.text, b.speaker, b.lang) == (2.0, "", None, None)


def test_segments_cut_recordings_and_their_times_are_subtracted_as_they_are_written(imported):
    files = {"kaldi/wav.scp": "rec two.flac\n", "kaldi/text": "x X\ny Y\n"}
    files["kaldi/segments"] = "x rec 0.1 0.3\ny rec 1.5 -1\n"
    x, y = imported("kaldi", files).utterances
    assert (x.id, x.start, x.duration) == ("x", 0.1, 0.2)
    assert (y.start, y.duration) == (1.5, 0.5)


def test_relative_paths_start_at_the_root(imported, source):
    files = {"kaldi/wav.scp": "c three.wav\n", "kaldi/text": "c C\n"}
    assert "sub/three.wav" not in str(imported("kaldi", files).utterances)
    (row,) = imported("kaldi", files, root=source / "sub").utterances
    assert row.audio == source / "sub" / "three.wav"


def test_audio_that_lies_in_the_folder_is_found_from_everywhere(imported, source):
    files = {
        "kaldi/wav.scp": "c wav/c.wav\n",
        "kaldi/text": "c C\n",
        "kaldi/wav/c.wav": (source / "one.wav").read_bytes(),
    }
    (row,) = imported("kaldi", files).utterances
    assert row.audio == source / "kaldi" / "wav" / "c.wav"


def test_a_folder_without_texts_is_audio_to_transcribe(imported):
    result = imported("kaldi", {"kaldi/wav.scp": "a one.wav\n"})
    assert [row.text for row in result.utterances] == [""]


@pytest.mark.parametrize(
    ("file", "line", "where", "reason"),
    [
        ("wav.scp", "c flac -c -d -s two.flac |", "wav.scp:3", "wav.scp:3: is a command, and none is run"),
        ("wav.scp", "c all.ark:17", "wav.scp:3", "lies inside an archive"),
        ("wav.scp", "c", "wav.scp:3", "names no file"),
        ("wav.scp", "c gone.wav", "wav.scp:3", "gone.wav: there is no such file"),
        ("wav.scp", "a two.flac", "wav.scp:3", "the key already stands at"),
        ("wav.scp", "d two.flac", "wav.scp:3", "there is no line for it in"),
        ("text", "e E", "text:4", "there is no such utterance in"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_kept(file, line, where, reason, imported):
    files = {"kaldi/wav.scp": WHOLE["kaldi/wav.scp"], "kaldi/text": "a A\nb B\nc C\n"}
    if file == "text" or line[0] in "ad":
        files["kaldi/text"] = "a A\nb B\n\n"
    files[f"kaldi/{file}"] += f"{line}\n"
    result = imported("kaldi", files)
    (fault,) = result.faults
    assert fault.where.endswith(where)
    assert fault.id == line[0]
    assert reason in fault.reason
    assert [row.id for row in result.utterances] == ["a", "b"]


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        ("c rec 0.5", "expected 'utterance recording start end'"),
        ("c rec 0.5 x", "is not a number of seconds"),
        ("c rec 0.5 0.5", "the segment goes from 0.5 to 0.5 s"),
        ("c rec nan 1", "the segment goes from nan to 1 s"),
        ("c rec 0.5 1 1", "channel 1 of a recording"),
        ("c other 0.5 1", "there is no recording 'other'"),
        ("c rec 9 -1", "starts at 9 s"),
    ],
)
def test_a_bad_segment_is_named(segment, reason, imported):
    files = {"kaldi/wav.scp": "rec two.flac\n", "kaldi/text": "a A\nc C\n"}
    files["kaldi/segments"] = f"a rec 0 1\n{segment}\n"
    result = imported("kaldi", files)
    (fault,) = result.faults
    assert fault.where.endswith("segments:2")
    assert reason in fault.reason
    assert [row.id for row in result.utterances] == ["a"]


def test_a_file_that_is_not_utf8_is_named_with_its_line(imported):
    with pytest.raises(ManifestError, match=r"text:2: not UTF-8"):
        imported("kaldi", WHOLE | {"kaldi/text": b"a A\nb \xff\n"})


def test_speechocean762_is_read_as_its_own_files_say(corpora):
    from asr.corpora.importers import ImportOptions, import_corpus

    folder = corpora / "speechocean762"
    result = import_corpus(folder / "test", None, ImportOptions(root=folder))
    texts = dict(line.split(maxsplit=1) for line in (folder / "test" / "text").read_text().splitlines())
    assert {row.id: row.text for row in result.utterances} == {id: text.strip() for id, text in texts.items()}
    assert result.faults == []
    assert all(row.speaker in row.audio.parent.name for row in result.utterances)


def test_segments_outside_their_recording_are_left_out(imported):
    files = {"kaldi/wav.scp": "rec two.flac\n", "kaldi/text": "x X\ny Y\nz Z\n"}
    files["kaldi/segments"] = "x rec 1.0 2.05\ny rec 1.5 2.5\nz rec 30 31\n"
    result = imported("kaldi", files)
    assert [row.id for row in result.utterances] == ["x"]
    assert [(fault.id, fault.reason.split()[0]) for fault in result.faults] == [("y", "goes"), ("z", "starts")]


def test_a_line_of_speakers_or_languages_with_more_than_two_words_is_named(imported):
    result = imported("kaldi", WHOLE | {"kaldi/utt2spk": "a anna berta\nb b\n", "kaldi/utt2lang": "b en us\n"})
    assert [(fault.id, fault.reason.rpartition("/")[2]) for fault in result.faults] == [
        ("a", "utt2spk has more than two words"), ("b", "utt2lang has more than two words")
    ]  # fmt: skip
