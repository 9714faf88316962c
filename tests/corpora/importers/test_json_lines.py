"""NeMo's and lhotse's JSON lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from asr.corpora.import_report import save
from asr.errors import ManifestError


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def recording(name: str, channels: int = 1, **more: object) -> dict[str, object]:
    source = {"type": "file", "channels": list(range(channels)), "source": name}
    return {"id": "rec", "sources": [source], "sampling_rate": 8000, "num_samples": 8000, "duration": 1.0} | more


def supervision(**more: object) -> dict[str, object]:
    return {"id": "a", "recording_id": "rec", "start": 0.1, "duration": 0.5, "channel": 0, "text": "hi"} | more


def cut(**more: object) -> dict[str, object]:
    return {
        "id": "cut", "start": 0.2, "duration": 0.8, "channel": 0, "supervisions": [supervision()],
        "recording": recording("one.wav"), "type": "MonoCut",
    } | more  # fmt: skip


# NeMo


def test_nemo_rows_with_everything_and_with_little(imported, source):
    full = {
        "audio_filepath": "sub/three.wav",
        "duration": 0.5,
        "text": "hi",
        "offset": 0.25,
        "speaker": "s",
        "lang": "de",
    }
    content = lines(full | {"id": "x", "pnc": "no"}, "", {"audio_filepath": str(source / "one.wav")})
    for name, data in {"m.json": content, "n.jsonl.gz": gzip.compress(content.encode())}.items():
        result = imported(name, {name: data})
        assert (result.format, result.faults) == ("nemo", [])
        x, one = result.utterances
        assert (x.id, x.audio, x.start, x.duration) == ("x", source / "sub" / "three.wav", 0.25, 0.5)
        assert (x.text, x.speaker, x.lang) == ("hi", "s", "de")
        assert (one.id, one.duration, one.text, one.speaker) == ("one", 1.0, "", None)


def test_nemo_ids_are_paths_below_what_all_share_and_tell_segments_apart(imported):
    rows = [{"audio_filepath": "sub/three.wav", "offset": offset, "duration": 0.5} for offset in (0, 0.75)]
    result = imported("m.jsonl", {"m.jsonl": lines(*rows, {"audio_filepath": "one.wav"})})
    assert [row.id for row in result.utterances] == ["sub/three-0000000", "sub/three-0000750", "one"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "the line is not JSON"),
        ("[]", "the line is not a JSON object"),
        ({"text": "hi"}, "'audio_filepath' is missing"),
        ({"audio_filepath": "one.wav", "duration": "long"}, "'duration' is long"),
        ({"audio_filepath": "one.wav", "duration": True}, "'duration' is True"),
        ({"audio_filepath": "one.wav", "offset": -1}, "'offset' is -1"),
        ({"audio_filepath": "one.wav", "text": 3}, "'text' must be a string, not 3"),
        ({"audio_filepath": "gone.wav"}, "there is no such file"),
        ({"audio_filepath": "two.flac", "id": "same"}, "the id already stands at"),
        ({"audio_filepath": "two.flac", "id": " "}, "the id is empty"),
    ],
)
def test_a_bad_nemo_line_is_named(row, reason, imported):
    result = imported("m.jsonl", {"m.jsonl": lines({"audio_filepath": "one.wav", "id": "same"}, row)})
    (fault,) = result.faults
    assert fault.where.endswith("m.jsonl:2")
    assert reason in fault.reason
    assert [row.id for row in result.utterances] == ["same"]


def test_a_damaged_gzip_file_is_named(imported):
    whole = gzip.compress(lines({"audio_filepath": "one.wav"}).encode())
    with pytest.raises(ManifestError, match=r"m\.jsonl\.gz: damaged gzip file"):
        imported("m.jsonl.gz", {"m.jsonl.gz": whole[:-9]}, "nemo")


def test_nemo_texts_are_looked_for_in_the_order_of_nemo(imported):
    rows = [
        {"audio_filepath": "one.wav", "text": "in the row", "text_filepath": "said.txt", "normalized_text": "no"},
        {"audio_filename": "two.flac", "audio_filepath": "gone.wav", "text_filepath": "said.txt",
         "normalized_text": "no"},
        {"audio_filepath": "sub/three.wav", "text": None, "normalized_text": "numbers written out"},
        {"audio_filepath": "stereo.wav", "text_filepath": "gone.txt"},
    ]  # fmt: skip
    result = imported("m.jsonl", {"m.jsonl": lines(*rows), "said.txt": "\ufeffin a\nfile \n"})
    assert {row.audio.name: row.text for row in result.utterances} == {
        "one.wav": "in the row", "two.flac": "in a file", "three.wav": "numbers written out"
    }  # fmt: skip
    (fault,) = result.faults
    assert fault.where.endswith("m.jsonl:4")
    assert "gone.txt: cannot be read" in fault.reason


def test_nemo_paths_start_at_the_manifest_or_else_at_the_working_directory(imported, source):
    rows = [{"audio_filepath": "one.wav", "text": "a"}, {"audio_filepath": "two.flac", "text": "b"}]
    files = {"lists/m.jsonl": lines(*rows), "lists/one.wav": (source / "one.wav").read_bytes()}
    result = imported("lists/m.jsonl", files)
    assert [row.audio for row in result.utterances] == [source / "lists" / "one.wav", source / "two.flac"]
    assert len(imported("lists/m.jsonl", files, root=source / "lists").faults) == 1


def test_rows_without_a_text_are_named(imported):
    told: list[str] = []
    rows = [{"audio_filepath": "one.wav", "id": "a"}, {"audio_filepath": "one.wav", "id": "b", "text": "hi"}]
    save(Path("new.jsonl"), imported("m.jsonl", {"m.jsonl": lines(*rows)}), told.append)
    assert told[0] == "1 utterance without a text: a"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"offset": 30, "duration": 99}, "starts at 30 s, {audio} ends at 1 s"),
        ({"offset": 0.5, "duration": 0.7}, "goes on until 1.2 s, {audio} ends at 1 s"),
        ({"offset": 1.0}, "starts at 1 s, {audio} ends at 1 s"),
        ({"offset": 0.2, "duration": 0.0}, "lasts 0 s; an utterance needs a duration above 0"),
    ],
)
def test_a_row_outside_its_recording_is_left_out(row, reason, imported, source):
    rows = [{"audio_filepath": "one.wav", "id": "x"} | row, {"audio_filepath": "one.wav", "offset": 0.5,
                                                            "duration": 0.55, "id": "about"}]  # fmt: skip
    result = imported("m.jsonl", {"m.jsonl": lines(*rows)})
    assert [(fault.id, fault.reason) for fault in result.faults] == [("x", reason.format(audio=source / "one.wav"))]
    assert [(row.id, row.duration) for row in result.utterances] == [("about", 0.55)], "as it was said"


def test_cuts_and_supervisions_outside_their_recording_are_left_out(imported):
    cuts = lines(cut(start=0.8), cut(start=7.0, supervisions=[supervision(id="b")]))
    result = imported("cuts.jsonl", {"cuts.jsonl": cuts})
    assert [(fault.id, fault.reason.split()[0]) for fault in result.faults] == [("a", "goes"), ("b", "starts")]
    files = {"x_recordings.jsonl": lines(recording("one.wav")), "x_supervisions.jsonl": lines(supervision(duration=3))}
    (fault,) = imported("x_supervisions.jsonl", files).faults
    assert fault.reason.startswith("goes on until 3.1 s")


# lhotse


def test_a_cut_gives_an_utterance_for_each_supervision_in_the_time_of_the_recording(imported, source):
    second = supervision(id="b", start=0.3, duration=0.2, speaker="s", language="en")
    result = imported("cuts.jsonl", {"cuts.jsonl": lines(cut(supervisions=[supervision(), second]))})
    assert (result.format, result.faults) == ("lhotse", [])
    a, b = result.utterances
    assert (a.id, a.audio, a.start, a.duration, a.text) == ("a", source / "one.wav", 0.3, 0.5, "hi")
    assert (b.id, b.start, b.duration, b.speaker, b.lang) == ("b", 0.5, 0.2, "s", "en")


def test_supervisions_find_their_recordings_beside_them(imported):
    files = {
        "lists/x_recordings_train.jsonl.gz": gzip.compress(lines(recording("two.flac")).encode()),
        "lists/x_supervisions_train.jsonl.gz": gzip.compress(lines(supervision(), supervision(id="b")).encode()),
    }
    for path in ("lists", "lists/x_supervisions_train.jsonl.gz"):
        result = imported(path, files)
        assert [(row.id, row.audio.name, row.start) for row in result.utterances] == [
            ("a", "two.flac", 0.1), ("b", "two.flac", 0.1)
        ]  # fmt: skip


def test_what_cannot_be_chosen_between_or_found_is_told(imported):
    files = {f"lists/x_supervisions_{split}.jsonl": lines(supervision()) for split in ("dev", "test")}
    with pytest.raises(ManifestError, match=r"name one of them: x_supervisions_dev\.jsonl, x_supervisions_test\.jsonl"):
        imported("lists", files)
    with pytest.raises(ManifestError, match="its recordings are not beside it"):
        imported("lists/x_supervisions_dev.jsonl", files)
    with pytest.raises(ManifestError, match="holds recordings alone"):
        imported("recordings.jsonl", {"recordings.jsonl": lines(recording("one.wav"))})


def test_all_channels_of_a_file_are_an_utterance_and_one_of_them_is_not(imported):
    stereo = cut(recording=recording("stereo.wav", 2), supervisions=[supervision(channel=[0, 1])], type="MultiCut")
    one = cut(recording=recording("stereo.wav", 2), supervisions=[supervision(id="b")])
    result = imported("cuts.jsonl", {"cuts.jsonl": lines(stereo, one)})
    assert [row.id for row in result.utterances] == ["a"]
    assert "channel 0 of channels [0, 1]" in result.faults[0].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (cut(type="MixedCut"), "a MixedCut has no file of its own"),
        (cut(recording=None), "the cut has features but no recording"),
        (cut(supervisions=[]), "the cut has no supervision"),
        (cut(recording=recording("one.wav", sources=[])), "the recording has 0 files"),
        (cut(recording=recording("one.wav", sources=[{"type": "command", "source": "x"}])), "is a command, not a file"),
        (cut(recording=recording("one.wav", transforms=[{"name": "Speed"}])), "the recording is to be transformed"),
        (cut(supervisions=[supervision(duration=None)]), "'duration' is None"),
        (cut(supervisions=[supervision(start=-2)]), "'start' is -1.8"),
        (cut(supervisions=[supervision(start="soon")]), "'start' is soon"),
    ],
)
def test_a_bad_cut_is_named(row, reason, imported):
    good = cut(supervisions=[supervision(id="good")])
    result = imported("cuts.jsonl", {"cuts.jsonl": lines(good, row)})
    (fault,) = result.faults
    assert fault.where.endswith("cuts.jsonl:2")
    assert reason in fault.reason
    assert [row.id for row in result.utterances] == ["good"]
