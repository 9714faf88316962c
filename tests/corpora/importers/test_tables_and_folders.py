"""Tables with column names, folders of audio with metadata or texts, and how a format is found out."""

from __future__ import annotations

import json

import pytest

from asr.cli.main import main
from asr.corpora.importers.base import IMPORTERS
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
    with pytest.raises(ManifestError, match=r"e\.csv: the table is empty"):
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


def reasons(result) -> dict[str, str]:
    """Place in its file -> what is wrong there."""
    return {fault.where.rpartition("/")[2]: fault.reason for fault in result.faults}


@pytest.mark.parametrize(
    ("name", "table", "bad"),
    [
        ("t.csv", "audio,text\none.wav,yes, I think so\ntwo.flac,no\n", {"t.csv:2": "3 cells, but 2 columns"}),
        ("t.csv", "audio,text\none.wav\ntwo.flac,no\n", {"t.csv:2": "1 cell, but 2 columns"}),
        ("t.csv", "audio,text\none.wav,yes,\ntwo.flac,no\n", {"t.csv:2": "3 cells"}),
        ("t.tsv", "audio\ttext\none.wav\tyes\tand no\ntwo.flac\tno\n", {"t.tsv:2": "3 cells"}),
        ("t.tsv", "audio\ttext\none.wav\tyes\nI think\ntwo.flac\tno\n",
         {"t.tsv:2": "the rest of its text", "t.tsv:3": "1 cell"}),
        ("t.csv", 'audio,text\none.wav,"yes\ntwo.flac,no\n', {"t.csv:2": "lines 2 to 3 are not a row"}),
        ("t.csv", 'audio,text\none.wav,"yes" I think\ntwo.flac,no\n', {"t.csv:2": "not a row of a table"}),
        ("t.csv", 'audio,text\none.wav,"yes\nstereo.wav,no"\ntwo.flac,no\n', {"t.csv:2": "goes on over 1 line"}),
    ],
)  # fmt: skip
def test_no_part_of_a_row_is_lost_in_silence(name, table, bad, imported):
    result = imported(name, {name: table})
    found = reasons(result)
    assert found.keys() == bad.keys()
    for where, reason in bad.items():
        assert reason in found[where]
    texts = {row.id: row.text for row in result.utterances}
    assert texts == ({} if "lines 2 to 3" in found.get("t.csv:2", "") else {"two": "no"})


def test_a_line_end_in_a_quoted_text_is_none_of_the_table(imported):
    (row,) = imported("t.csv", {"t.csv": 'audio,text\none.wav,"yes,\nI think"\n'}).utterances
    assert row.text == "yes,\nI think"


def test_a_column_name_that_comes_twice_is_refused_where_it_matters(imported):
    with pytest.raises(ManifestError, match=r"t\.csv: there are several columns 'text'"):
        imported("t.csv", {"t.csv": "audio,text,text\none.wav,yes,no\n"})
    with pytest.raises(ManifestError, match="several columns 'Text'"):
        imported("t.csv", {"t.csv": "audio,Text,TEXT\none.wav,yes,no\n"})
    (row,) = imported("t.csv", {"t.csv": "audio,text,note,note\none.wav,yes,a,b\n"}).utterances
    assert row.text == "yes"


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".psv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_encodings_and_missing_column_names_are_found_out(separator, suffix, encoding, imported):
    rows = [["Audio", "text", "speaker"], ["one.wav", "it is - so\u0308", "s"], ["sub/three.wav", "a: b", "t"]]
    with_names = "".join(separator.join(row) + "\r\n" for row in rows)
    result = imported(f"t{suffix}", {f"t{suffix}": with_names.encode(encoding)})
    assert [(row.id, row.text, row.speaker) for row in result.utterances] == [
        ("one", "it is - so\u0308", "s"), ("sub/three", "a: b", "t")
    ]  # fmt: skip
    without = "".join(separator.join(row[:2]) + "\n" for row in rows[1:])
    result = imported(f"t{suffix}", {f"t{suffix}": without.encode(encoding)})
    assert [(row.id, row.text) for row in result.utterances] == [("one", "it is - so\u0308"), ("sub/three", "a: b")]
    assert not result.faults


def test_columns_without_names_have_numbers(imported):
    files = {"t.csv": "x,one.wav,s,yes\ny,two.flac,s,no\n"}
    with pytest.raises(ManifestError, match="no column is known to hold text; name one of 1, audio, 3, 4"):
        imported("t.csv", files)
    x, y = imported("t.csv", files, columns={"audio": "2", "text": "4", "id": "1"}).utterances
    assert (x.id, x.text, y.id, y.text) == ("x", "yes", "y", "no")


def test_ljspeech_as_published_is_read_from_its_folder_or_its_table(imported, source):
    clip = (source / "one.wav").read_bytes()
    table = 'LJ1|He said "1, 2|He said "one, two\nLJ2|yes|yes\n'
    files = {"lj/metadata.csv": table, "lj/wavs/LJ1.wav": clip, "lj/wavs/LJ2.wav": clip}
    for path in ("lj", "lj/metadata.csv"):
        result = imported(path, files)
        assert (result.format, result.faults) == ("table", [])
        assert [(row.id, row.text, row.audio.name) for row in result.utterances] == [
            ("LJ1", 'He said "one, two', "LJ1.wav"), ("LJ2", "yes", "LJ2.wav")
        ]  # fmt: skip


def test_audio_is_found_without_its_suffix_and_through_the_name_of_its_folder(imported, source):
    clip = (source / "one.wav").read_bytes()
    files = {"cv/dev.csv": "path,sentence\nclips/a.wav,hi\nb,ho\n", "cv/clips/a.wav": clip, "cv/clips/b.wav": clip}
    a, b = imported("cv/dev.csv", files).utterances
    assert (a.audio, b.audio) == (source / "cv" / "clips" / "a.wav", source / "cv" / "clips" / "b.wav")


def test_folders_of_librispeech_are_read_with_their_speakers(imported, source):
    clip = (source / "one.wav").read_bytes()
    files = {
        "libri/84/121/84-121.trans.txt": "84-121-0000 GO  ON\n84-121-0001 STOP\n84-121-0002 GONE\n",
        "libri/84/121/84-121-0000.flac": clip,
        "libri/84/121/84-121-0001.flac": clip,
        "libri/84/121/84-121-0009.flac": clip,
    }
    result = imported("libri", files)
    assert result.format == "transcripts"
    assert [(row.id, row.text, row.speaker) for row in result.utterances] == [
        ("84-121-0000", "GO  ON", "84"), ("84-121-0001", "STOP", "84")
    ]  # fmt: skip
    assert reasons(result) == {
        "84-121.trans.txt:3": "no audio has its name",
        "84-121-0009.flac": "no list has a line for it",
    }


def test_a_text_of_kaldi_beside_audio_needs_no_wav_scp(imported, source):
    clip = (source / "one.wav").read_bytes()
    files = {
        "k/text": "a hello there\nb bye\n", "k/utt2spk": "a s\nb b\n", "k/wav/a.wav": clip, "k/wav/b.wav": clip,
    }  # fmt: skip
    result = imported("k", files)
    assert (result.format, result.faults) == ("transcripts", [])
    assert [(row.id, row.text, row.speaker) for row in result.utterances] == [
        ("a", "hello there", "s"), ("b", "bye", None)
    ]  # fmt: skip


def test_a_name_that_several_files_have_is_left_out(imported, source):
    clip = (source / "one.wav").read_bytes()
    result = imported("k", {"k/text": "a hello\n", "k/x/a.wav": clip, "k/y/a.wav": clip})
    assert not result.utterances
    assert "several files have its name" in reasons(result)["text:1"]


def test_files_that_people_do_not_see_are_no_audio(imported, source):
    clip = (source / "one.wav").read_bytes()
    files = {"d/a.wav": clip, "d/a.txt": "hi", "d/._a.wav": b"\0\5\x16\7", "d/._a.txt": "x", "d/__MACOSX/b.wav": b"x"}
    result = imported("d", files)
    assert [row.id for row in result.utterances] == ["a"]
    assert not result.faults
    result = imported("e", {"e/text": "a hi\n", "e/a.wav": clip, "e/._a.wav": b"\0\5\x16\7"})
    assert ([row.id for row in result.utterances], result.faults) == (["a"], [])


@pytest.mark.parametrize("folder", ["train", "data/train"])
def test_the_metadata_of_one_split_are_found_below(folder, imported, source):
    clip = (source / "one.wav").read_bytes()
    files = {f"hf/{folder}/metadata.csv": "file_name,text\na.wav,hi\n", f"hf/{folder}/a.wav": clip}
    result = imported("hf", files)
    assert (result.format, result.faults) == ("hf_folder", [])
    assert result.utterances[0].audio == source / "hf" / folder / "a.wav"


def test_a_row_of_json_with_something_else_than_a_text_is_named(imported):
    rows = '{"file_name": "one.wav", "text": "hi"}\n{"file_name": "two.flac", "text": ["a", "b"]}\n'
    result = imported(".", {"metadata.jsonl": rows})
    assert reasons(result) == {"metadata.jsonl:2": '\'text\' must be a string, not ["a", "b"]'}
    rows = '{"file_name": "one.wav", "text": "hi", "text": "ho"}\n{"file_name": "two.flac", "text": "no"}\n'
    result = imported(".", {"metadata.jsonl": rows})
    assert reasons(result) == {"metadata.jsonl:1": "the key 'text' stands there twice"}


def test_tables_in_a_folder_of_no_known_format_are_named(imported, source):
    with pytest.raises(ManifestError, match=r"of no known format; name one of the tables in it: dev\.tsv, train\.tsv;"):
        imported("cv", {"cv/train.tsv": COMMON_VOICE, "cv/dev.tsv": COMMON_VOICE})


def test_message_and_help_say_what_each_format_is(imported, capsys):
    with pytest.raises(SystemExit):
        main(["data", "import", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    with pytest.raises(ManifestError) as error:
        imported("notes.md", {"notes.md": "hello"})
    assert len(IMPORTERS) > 5
    for name, importer in IMPORTERS.items():
        assert f"{name} is {importer.summary}" in str(error.value)
        assert f"{name} is {importer.summary}" in shown


def test_times_in_a_table_are_read_or_asked_for(imported):
    files = {"t.csv": "audio,text,start,end\none.wav,hi,0.1,0.4\ntwo.flac,no,1.5,\none.wav,x,0.5,0.2\n"}
    with pytest.raises(ManifestError, match=r"t\.csv: column 'start' may say where .*--start-column start"):
        imported("t.csv", files)
    result = imported("t.csv", files, columns={"start": "start", "end": "end"})
    assert [(row.start, row.duration) for row in result.utterances] == [(0.1, 0.3), (1.5, 0.5)]
    assert [fault.reason for fault in result.faults] == ["it starts at 0.5 s and ends at 0.2 s"]
    whole = imported("t.csv", {"t.csv": "audio,text,from\none.wav,hi,me\n"}, columns={"start": "none"})
    assert [(row.start, row.duration) for row in whole.utterances] == [(0.0, 1.0)]


def test_nul_characters_in_a_text_are_damage(imported):
    result = imported("t.csv", {"t.csv": "audio,text\none.wav,h\0i\ntwo.flac,a b\n"})
    assert [fault.reason for fault in result.faults] == ["it holds a NUL character; the file is damaged"]
    assert [row.text for row in result.utterances] == ["a b"]
    kaldi = imported("k", {"k/wav.scp": "a one.wav\nb two.flac\n", "k/text": "a hi\nb n\0o\n"})
    assert [row.text for row in kaldi.utterances] == ["hi"]
    assert "NUL" in kaldi.faults[0].reason
