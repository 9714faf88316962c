"""Tables with column names, folders of audio with metadata or texts, and how a format is found out."""

from __future__ import annotations

import json

import pytest

from asr.errors import ManifestError

COMMON_VOICE = (
    "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale\n"
    'c1\tone.wav\tx\tShe said "no".\t2\ten\n'
    "c2\ttwo.flac\ty\tÜber, alles\t3\tde\n"
)


def test_common_voice_is_read_by_its_own_names(imported, source):
    result = imported("cv/validated.tsv", {"cv/validated.tsv": COMMON_VOICE}, root=source)
    assert (result.format, result.faults) == ("table", [])
    one, two = result.utterances
    assert (one.id, one.text, one.speaker, one.lang, one.duration) == ("one", 'She said "no".', "c1", "en", 1.0)
    assert (two.id, two.text, two.lang) == ("two", "Über, alles", "de")


def test_clips_beside_the_table_are_found(imported, source):
    clip = (source / "one.wav").read_bytes()
    files = {"cv/dev.tsv": "path\tsentence\na.wav\thi\n", "cv/clips/a.wav": clip}
    assert imported("cv/dev.tsv", files).utterances[0].audio == source / "cv" / "clips" / "a.wav"


def test_columns_can_be_named_and_csv_is_quoted(imported):
    table = 'name,file,said,who,from,length\nx,one.wav,"well, ""yes""",s,0.25,0.5\ny,two.flac,no,,,\n'
    columns = {"id": "name", "text": "said", "speaker": "who", "start": "from", "duration": "length"}
    x, y = imported("t.csv", {"t.csv": table}, columns=columns).utterances
    assert (x.id, x.text, x.speaker, x.start, x.duration) == ("x", 'well, "yes"', "s", 0.25, 0.5)
    assert (y.id, y.speaker, y.start, y.duration) == ("y", None, 0.0, 2.0)


def test_columns_that_are_not_there_are_told_with_those_that_are(imported):
    files = {"t.csv": "file,said\none.wav,hi\n"}
    with pytest.raises(ManifestError, match=r"t\.csv: no column is known to hold text; name one of file, said"):
        imported("t.csv", files)
    with pytest.raises(ManifestError, match="no column 'sayd' for text; did you mean 'said'"):
        imported("t.csv", files, columns={"text": "sayd"})
    with pytest.raises(ManifestError, match="no column is known to hold audio; name one of none"):
        imported("e.csv", {"e.csv": ""})


def test_a_bad_row_of_a_table_is_named(imported):
    table = "audio,text,id,start\n,hi,a,\none.wav,hi,b,soon\ngone.wav,hi,c,\none.wav,hi,d,\n"
    result = imported("t.csv", {"t.csv": table}, columns={"start": "start"})
    named = {fault.id: (fault.where.rpartition("/")[2], fault.reason) for fault in result.faults}
    assert named["a"] == ("t.csv:2", "column 'audio' is empty")
    assert named["b"] == ("t.csv:3", "'start' is soon; it must be a finite number of seconds, not below 0")
    assert named["c"][0] == "t.csv:4"
    assert [row.id for row in result.utterances] == ["d"]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_an_audio_folder_of_hugging_face(name, imported, source):
    rows = [{"file_name": "sub/three.wav", "transcription": "a, b", "speaker_id": "s"}, {"file_name": "one.wav"}]
    table = 'file_name,transcription,speaker_id\nsub/three.wav,"a, b",s\none.wav,,\n'
    content = table if name.endswith("csv") else "".join(json.dumps(row) + "\n" for row in rows)
    result = imported(".", {name: content})
    assert (result.format, result.faults) == ("hf_folder", [])
    three, one = result.utterances
    assert (three.id, three.audio, three.text) == ("sub/three", source / "sub" / "three.wav", "a, b")
    assert (three.speaker, one.text, one.speaker) == ("s", "", None)


def test_splits_of_an_audio_folder_are_listed(imported):
    files = {f"{split}/metadata.csv": "file_name,text\n" for split in ("train", "test")}
    with pytest.raises(ManifestError, match="name one of its folders test, train"):
        imported(".", files)


def test_a_folder_of_audio_and_texts(imported, source):
    result = imported(".", {"one.txt": "two\nlines\n", "sub/three.txt": "three", "alone.txt": "x"})
    assert result.format == "text_folder"
    assert [(row.id, row.text, row.duration) for row in result.utterances] == [
        ("one", "two lines", 1.0), ("sub/three", "three", 1.5)
    ]  # fmt: skip
    named = {fault.where.removeprefix(f"{source}/"): fault.reason for fault in result.faults}
    assert named == {
        "stereo.wav": "there is no stereo.txt beside it",
        "two.flac": "there is no two.txt beside it",
        "alone.txt": "there is no audio beside it",
    }


def test_a_source_of_no_known_format_and_one_that_needs_no_import_are_told(imported, source):
    with pytest.raises(ManifestError, match="of no known format; --format forces one of hf_folder, kaldi"):
        imported("notes.md", {"notes.md": "hello"})
    with pytest.raises(ManifestError, match=r"m\.jsonl: is a manifest already"):
        imported("m.jsonl", {"m.jsonl": '{"id": "a", "audio": "one.wav", "duration": 1}\n'})
    with pytest.raises(ManifestError, match="there is no such file or folder"):
        imported("gone", {})
    with pytest.raises(ManifestError, match="read as text_folder, which has no columns"):
        imported(".", {"one.txt": "one"}, columns={"text": "said"})


def test_audio_that_cannot_be_opened_is_left_out(imported, source):
    result = imported(".", {"one.txt": "one", "bad.wav": "no audio", "bad.txt": "bad"}, "text_folder")
    assert [row.id for row in result.utterances] == ["one"]
    assert any("bad.wav: cannot be read as audio" in fault.reason for fault in result.faults)
