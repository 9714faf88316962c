"""Shards are plain tar files in WebDataset layout that hold every utterance once, to the last sample."""

from __future__ import annotations

import io
import json
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.audio.io import load_audio
from asr.data.shards import writer
from asr.data.shards.index import read_shards
from asr.data.shards.reading import load_waveform
from asr.data.shards.writer import ShardLimits, parse_size, write_shards
from asr.errors import AsrError, AudioError, ManifestError
from asr.types import Utterance

RATE = 8000
SOUND = np.random.default_rng(0).uniform(-0.6, 0.6, (RATE, 2))


def write(path: Path, samples: np.ndarray, **options: str) -> Path:
    soundfile.write(path, samples, RATE, **options)
    return path


def samples_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """Key -> suffix -> content, as WebDataset groups the members of tar files."""
    samples: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                assert suffix not in samples[key]
                samples[key][suffix] = tar.extractfile(member).read()
    return samples


def test_a_file_of_its_own_is_stored_byte_for_byte_beside_what_is_known_of_it(utterances, tmp_path):
    rows = [replace(utterances[0], speaker="s", lang="en"), *utterances[1:]]
    write_shards(rows, tmp_path / "shards", ShardLimits(utterances=10))
    samples = samples_of(tmp_path / "shards")
    assert sorted(samples) == [row.id for row in rows]
    for row in rows:
        assert samples[row.id]["wav"] == row.audio.read_bytes()
    about = {"id": "u00", "duration": rows[0].duration, "text": "Word 0", "speaker": "s", "lang": "en"}
    assert json.loads(samples["u00"]["json"]) == about


@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_16", 2), ("PCM_24", 1), ("ULAW", 1)])
def test_a_stretch_of_a_longer_file_is_cut_out_without_loss(subtype, channels, tmp_path):
    audio = write(tmp_path / "long.wav", SOUND[:, :channels], subtype=subtype)
    row = Utterance("a", audio, 0.25, "hi", start=0.5)
    write_shards([row], tmp_path / "shards", ShardLimits())
    (member,) = samples_of(tmp_path / "shards")["a"].keys() - {"json"}
    assert member == "flac"
    (stored,) = read_shards(str(tmp_path / "shards" / "shards.jsonl"))
    assert (stored.start, stored.duration, stored.text) == (0, 0.25, "hi")
    assert np.array_equal(load_waveform(stored, 16000), load_waveform(row, 16000))


def test_a_stretch_of_a_lossy_file_is_rounded_to_16_bits(tmp_path):
    audio = write(tmp_path / "long.ogg", SOUND[:, 0], format="OGG", subtype="VORBIS")
    row = Utterance("a", audio, 0.25, start=0.5)
    write_shards([row], tmp_path / "shards", ShardLimits())
    encoded = samples_of(tmp_path / "shards")["a"]["flac"]
    assert soundfile.info(io.BytesIO(encoded)).subtype == "PCM_16"
    (stored,) = read_shards(str(tmp_path / "shards" / "shards.jsonl"))
    assert np.abs(load_waveform(stored, RATE) - load_waveform(row, RATE)).max() <= 2**-16


@pytest.mark.parametrize("gain", [1 / 0.6, 3])
def test_a_stretch_beyond_full_scale_is_not_clipped(gain, tmp_path):
    sound = gain * SOUND[:, 0]
    sound[5000] = 1.0
    audio = write(tmp_path / "loud.wav", sound, subtype="FLOAT")
    row = Utterance("a", audio, 0.25, start=0.5)
    write_shards([row], tmp_path / "shards", ShardLimits())
    (stored,) = read_shards(str(tmp_path / "shards" / "shards.jsonl"))
    assert np.array_equal(load_waveform(stored, RATE), load_waveform(row, RATE))


def test_a_file_a_little_longer_than_its_row_is_stored_whole_and_cut_when_read(tmp_path):
    audio = write(tmp_path / "a.flac", SOUND[:, 0])
    row = Utterance("a", audio, 0.97)
    write_shards([row], tmp_path / "shards", ShardLimits())
    assert samples_of(tmp_path / "shards")["a"]["flac"] == audio.read_bytes()
    (stored,) = read_shards(str(tmp_path / "shards" / "shards.jsonl"))
    assert np.array_equal(load_waveform(stored, RATE), load_audio(audio, RATE)[:7760])


def test_ids_of_any_kind_give_keys_that_differ_and_hold_no_dot(utterances, tmp_path):
    ids = ["a.b", "a/b", "a_b", "ä b", "a" * 200, "x" * 59 + "é1", "x" * 59 + "é2"]
    rows = [replace(row, id=id) for row, id in zip(utterances, ids, strict=False)]
    write_shards(rows, tmp_path / "shards", ShardLimits())
    assert {json.loads(sample["json"])["id"] for sample in samples_of(tmp_path / "shards").values()} == set(ids)
    assert {row.id for row in read_shards(str(tmp_path / "shards" / "shards.jsonl"))} == set(ids)


def test_a_shard_is_full_at_its_number_of_utterances_or_bytes(utterances, tmp_path):
    def sizes(out: str, limits: ShardLimits) -> list[int]:
        return [row["utterances"] for row in write_shards(utterances, tmp_path / out, limits)]

    assert sizes("by_number", ShardLimits(utterances=10)) == [10, 10, 4]
    by_bytes = sizes("by_bytes", ShardLimits(num_bytes=60_000))
    assert sum(by_bytes) == 24
    assert 2 < len(by_bytes) < 24
    for path in (tmp_path / "by_bytes").glob("*.tar"):
        with tarfile.open(path) as tar:
            last = tar.getmembers()[-1]
        assert last.offset_data + last.size <= 60_000
    assert sizes("too_small", ShardLimits(num_bytes=1)) == [1] * 24


def test_the_index_counts_and_hashes_what_is_there(utterances, tmp_path):
    out = tmp_path / "shards"
    written = write_shards(utterances, out, ShardLimits(utterances=10))
    assert [json.loads(line) for line in (out / "shards.jsonl").read_text().splitlines()] == written
    for row in written:
        assert row["bytes"] == (out / row["shard"]).stat().st_size
    assert sum(row["duration"] for row in written) == pytest.approx(sum(row.duration for row in utterances))
    again = write_shards(utterances, tmp_path / "again", ShardLimits(utterances=10))
    assert again == written, "the same audio makes the same shards"


def test_shuffling_spreads_the_order_and_can_be_left_out(utterances, tmp_path):
    def ids(out: str, shuffle: bool) -> list[str]:
        write_shards(utterances, tmp_path / out, ShardLimits(), shuffle=shuffle)
        return [row.id for row in read_shards(str(tmp_path / out / "shards.jsonl"))]

    in_order = [row.id for row in utterances]
    assert ids("kept", False) == in_order
    shuffled = ids("shuffled", True)
    assert shuffled != in_order
    assert sorted(shuffled) == in_order


def test_an_interrupted_run_goes_on_and_ends_with_the_same_files(utterances, tmp_path, monkeypatch):
    limits = ShardLimits(utterances=10)
    write_shards(utterances, tmp_path / "whole", limits)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "encoded_audio", failing_after(15))
        with pytest.raises(KeyboardInterrupt):
            write_shards(utterances, tmp_path / "cut", limits)
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["shard-000000.jsonl", "shard-000000.tar"]
    packed: list[str] = []
    encode = writer.encoded_audio
    monkeypatch.setattr(writer, "encoded_audio", lambda row: packed.append(row.id) or encode(row))
    write_shards(utterances, tmp_path / "cut", limits)
    assert len(packed) == 14
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "cut" / path.name).read_bytes() == path.read_bytes()


def failing_after(number: int) -> Any:
    left = iter(range(number))
    encode = writer.encoded_audio

    def encode_or_fail(row: Utterance) -> tuple[str, bytes]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return encode(row)

    return encode_or_fail


def test_a_folder_with_shards_of_another_manifest_is_refused(utterances, tmp_path):
    write_shards(utterances, tmp_path / "shards", ShardLimits(utterances=10))
    for rows in (utterances[:20], utterances[:9], [replace(utterances[0], text="other"), *utterances[1:]]):
        with pytest.raises(ManifestError, match=r"shard-00000\d\.jsonl: made from another manifest"):
            write_shards(rows, tmp_path / "shards", ShardLimits(utterances=10), shuffle=False)


def test_audio_that_cannot_be_read_names_the_utterance(utterances, tmp_path):
    rows = [utterances[0], replace(utterances[1], audio=tmp_path / "gone.wav")]
    with pytest.raises(AudioError, match=r"^utterance 'u01': .*gone\.wav"):
        write_shards(rows, tmp_path / "shards", ShardLimits())
    assert not (tmp_path / "shards" / "shards.jsonl").exists()


def test_sizes_are_read_with_their_units():
    sizes = {"1GB": 10**9, "1.5 MB": 1_500_000, "64MiB": 2**26, "1000": 1000, "2gib": 2**31}
    assert {text: parse_size(text) for text in sizes} == sizes
    for text in ("", "GB", "1XB", "-1MB", "0", "1 2MB"):
        with pytest.raises(AsrError, match="is not a size"):
            parse_size(text)
