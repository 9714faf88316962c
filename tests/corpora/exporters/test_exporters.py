"""What is exported comes back equal, other toolkits can read it, and what a format cannot hold is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.corpora.exporters import EXPORTERS
from asr.corpora.importers import ImportOptions, import_corpus
from asr.errors import AudioError, ManifestError
from asr.types import Utterance

RATE = 8000
NAMES = ("a.wav", "with space.wav", "ü/ñ.wav", "ü/a.wav", "b c.flac", "stereo.wav", "pipe|.wav", "a:1.wav")
OUT = {"kaldi": "kaldi", "nemo": "nemo.jsonl.gz", "lhotse": "cuts.jsonl.gz"}


@pytest.fixture(scope="session")
def audio_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("audio")
    (folder / "ü").mkdir()
    for name in NAMES:
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2 if name == "stereo.wav" else 1))
        soundfile.write(folder / name, samples, RATE)
    return [folder / name for name in NAMES]


seconds = st.floats(0, 0.5) | st.sampled_from([0.0, 0.1, 0.3, 0.35])  # of files of 1 s
texts = st.text(st.characters(exclude_categories=["Cs"]))
words = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1).filter(
    lambda word: word[0] != "\ufeff"
)
plain_texts = st.lists(words, max_size=4).map(" ".join)


def rows_of(text: st.SearchStrategy[str], word: st.SearchStrategy[str], duration: st.SearchStrategy[float]):
    row = st.builds(
        Utterance,
        id=word.filter(str.strip),
        audio=st.sampled_from(NAMES).map(Path),
        duration=duration.filter(bool),  # importers refuse rows of no duration
        text=text,
        start=seconds,
        speaker=st.none() | word,
        lang=st.none() | word,
    )
    return st.lists(row, min_size=1, max_size=5, unique_by=lambda row: row.id)


def there_and_back(format: str, rows: list[Utterance], folder: Path, root: Path | None = None) -> list[Utterance]:
    out = folder / OUT[format]
    EXPORTERS[format].write(rows, out, root)
    result = import_corpus(out, None, ImportOptions(root))
    assert (result.format, result.faults) == (format, [])
    return list(result.utterances)


@pytest.mark.parametrize("format", ["nemo", "lhotse"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=rows_of(texts, texts, seconds))
def test_json_lines_come_back_equal(format, rows, audio_files, tmp_path):
    rows = [replace(row, audio=audio_files[0].parent / row.audio) for row in rows]
    assert there_and_back(format, rows, tmp_path) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=rows_of(plain_texts, words, seconds.filter(bool)))
def test_what_kaldi_can_hold_comes_back_equal(rows, audio_files, tmp_path_factory):
    rows = [replace(row, audio=audio_files[0].parent / row.audio) for row in rows if row.speaker != row.id]
    if rows:
        back = there_and_back("kaldi", rows, tmp_path_factory.mktemp("kaldi"))
        assert sorted(back, key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)


@pytest.mark.parametrize("format", sorted(EXPORTERS))
def test_paths_may_be_relative_to_a_root(format, audio_files, tmp_path):
    folder = audio_files[0].parent
    rows = [Utterance("x", folder / "ü" / "ñ.wav", 1.0, "hi"), Utterance("y", folder / "a.wav", 0.5, "ho", start=0.25)]
    assert there_and_back(format, rows, tmp_path, root=folder) == rows
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".gz")
    assert str(folder).encode() not in written


def test_a_kaldi_folder_is_sorted_and_has_segments_only_where_they_are_needed(audio_files, tmp_path):
    whole = [Utterance("z", audio_files[0], 1.0, "one two", speaker="s"), Utterance("B", audio_files[1], 1.0)]
    EXPORTERS["kaldi"].write(whole, tmp_path / "whole", None)
    assert {path.name: path.read_text() for path in (tmp_path / "whole").iterdir()} == {
        "wav.scp": f"B {audio_files[1]}\nz {audio_files[0]}\n",
        "text": "B\nz one two\n",
        "utt2spk": "B B\nz s\n",
        "spk2utt": "B B\ns z\n",
    }
    cut = [*whole, Utterance("a", audio_files[0], 0.2, "hi", start=0.1, lang="en")]
    EXPORTERS["kaldi"].write(cut, tmp_path / "cut", None)
    assert (tmp_path / "cut" / "wav.scp").read_text() == f"a {audio_files[0]}\nwith_space {audio_files[1]}\n"
    assert (tmp_path / "cut" / "segments").read_text() == "B with_space 0.0 1.0\na a 0.1 0.3\nz a 0.0 1.0\n"
    assert (tmp_path / "cut" / "utt2lang").read_text() == "a en\n"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "a b"}, "its id 'a b' is not one word"),
        ({"id": "\ufeffa"}, "is not one word"),
        ({"speaker": ""}, "its speaker '' is not one word"),
        ({"lang": "e n"}, "its lang 'e n' is not one word"),
        ({"speaker": "a"}, "its speaker is named like itself"),
        ({"text": "one\ntwo"}, "its text begins or ends with a space, or holds other"),
        ({"text": "one "}, "its text begins or ends with a space"),
        ({"duration": 0.0}, "it has no duration"),
        ({"audio": Path("/x/flac -c a.flac |")}, "means something else than a file"),
        ({"audio": Path("/x/a.ark:17")}, "means something else than a file"),
    ],
)
def test_what_kaldi_cannot_hold_is_refused_before_anything_is_written(change, reason, audio_files, tmp_path):
    row = replace(Utterance("a", audio_files[0], 1.0, "hi"), **change)
    with pytest.raises(ManifestError, match=reason):
        EXPORTERS["kaldi"].write([Utterance("good", audio_files[0], 1.0), row], tmp_path / "kaldi", None)
    assert not (tmp_path / "kaldi").exists()


def test_an_export_does_not_mix_with_files_of_another_one(audio_files, tmp_path):
    rows = [Utterance("a", audio_files[0], 0.5, "hi")]
    EXPORTERS["kaldi"].write(rows, tmp_path, None)
    EXPORTERS["kaldi"].write(rows, tmp_path, None)
    with pytest.raises(ManifestError, match="segments: does not belong to this export"):
        EXPORTERS["kaldi"].write([replace(rows[0], duration=1.0)], tmp_path, None)


@pytest.mark.parametrize("format", ["kaldi", "lhotse"])
def test_audio_that_cannot_be_opened_names_the_utterance(format, tmp_path):
    with pytest.raises(AudioError, match=r"^utterance 'a': .*gone\.wav"):
        EXPORTERS[format].write([Utterance("a", tmp_path / "gone.wav", 1.0)], tmp_path / "out", None)


def test_files_that_other_tools_cannot_decode_are_counted(audio_files, tmp_path):
    (warning,) = EXPORTERS["kaldi"].write([Utterance("a", audio_files[4], 1.0)], tmp_path / "kaldi", None)
    assert warning.startswith("1 utterance is not in a wav file")


def test_lhotse_reads_the_cuts_and_their_audio(audio_files, tmp_path):
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed")
    rows = [
        Utterance("x", audio_files[0], 0.25, "hi", start=0.5, speaker="s", lang="en"),
        Utterance("y", audio_files[5], 1.0, "both channels"),
    ]
    EXPORTERS["lhotse"].write(rows, tmp_path / "cuts.jsonl.gz", None)
    cuts = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl.gz").to_eager()
    lhotse.validate(cuts)
    x, y = cuts
    (supervision,) = x.supervisions
    assert (x.start, x.duration, supervision.text, supervision.speaker, supervision.language) == (
        0.5, 0.25, "hi", "s", "en"
    )  # fmt: skip
    samples, _ = soundfile.read(audio_files[0], dtype="float32")
    assert np.array_equal(x.load_audio()[0], samples[4000:6000])
    assert y.load_audio().shape == (2, RATE)


def test_nemo_lines_have_the_keys_nemo_reads(audio_files, tmp_path):
    EXPORTERS["nemo"].write([Utterance("x", audio_files[0], 0.25, "hi", start=0.5)], tmp_path / "m.jsonl", None)
    (line,) = (tmp_path / "m.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "audio_filepath": str(audio_files[0]), "duration": 0.25, "text": "hi", "offset": 0.5, "id": "x"
    }  # fmt: skip
