"""What is read from shards is what the files hold, and whatever is wrong with a shard is named."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.data import loader as loader_module
from asr.data.loader import Loader
from asr.data.sampler import ShardSampler
from asr.data.shards import store as store_module
from asr.data.shards.index import ShardedUtterance, is_shard_index, read_shards
from asr.data.shards.reading import fetch_in_background, load_waveform, shard_starts, with_shards_ahead
from asr.data.shards.store import ShardStore
from asr.data.shards.writer import ShardLimits, write_shards
from asr.errors import AsrError, AudioError, DownloadError, ManifestError
from asr.types import Utterance


@pytest.fixture
def index(utterances, tmp_path) -> Path:
    """24 utterances in six shards, in `tmp_path`, which `folder_server` serves."""
    write_shards(utterances, tmp_path, ShardLimits(utterances=4), shuffle=False)
    return tmp_path / "shards.jsonl"


@pytest.fixture(autouse=True)
def _quick_and_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(store_module, "FIRST_PAUSE", 0.001)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(store_module.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))


def plain(row: Utterance) -> Utterance:
    fields = {name: value for name, value in vars(row).items() if name in Utterance.__dataclass_fields__}
    return Utterance(**fields | {"audio": Path()})


def test_rows_and_samples_are_those_of_the_manifest(index, utterances):
    rows = read_shards(str(index))
    assert [plain(row) for row in rows] == [plain(row) for row in utterances]
    assert shard_starts(rows).tolist() == [0, 4, 8, 12, 16, 20, 24]
    assert shard_starts(utterances) is None
    for row, original in zip(rows, utterances, strict=True):
        assert np.array_equal(load_waveform(row, 16000), load_waveform(original, 16000))


def test_an_index_is_told_from_a_manifest(index, utterances, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"id": "a", "audio": "a.wav", "duration": 1}\n')
    (tmp_path / "broken.jsonl").write_text("{")
    assert is_shard_index(str(index))
    assert is_shard_index("http://somewhere/shards.jsonl")
    assert not any(is_shard_index(str(tmp_path / name)) for name in ("train.jsonl", "broken.jsonl", "missing.jsonl"))


Damage = Callable[[Path], object]


def _edit(name: str, **changes: object) -> Damage:
    def edit(folder: Path) -> None:
        first, *rest = (folder / name).read_text().splitlines(keepends=True)
        row = {key: value for key, value in (json.loads(first) | changes).items() if value is not None}
        (folder / name).write_text("".join([json.dumps(row) + "\n", *rest]))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "shards.jsonl").write_text("\n"), r"shards\.jsonl: the index is empty"),
        (lambda folder: (folder / "shards.jsonl").write_text("{"), r"shards\.jsonl:1: the line is not JSON"),
        (lambda folder: (folder / "shards.jsonl").write_text("[1]"), r"shards\.jsonl:1: the line is not a JSON object"),
        (_edit("shards.jsonl", bytes="many"), r"shards\.jsonl:1: key 'bytes' is missing or of the wrong kind"),
        (_edit("shards.jsonl", sha256=None), r"shards\.jsonl:1: key 'sha256' is missing"),
        (_edit("shard-000000.jsonl", text="other"), r"shard-000000\.jsonl: is not the file that .* describes"),
        (lambda folder: (folder / "shard-000003.jsonl").unlink(), r"shard-000003\.jsonl: cannot read it"),
    ],
)
def test_a_bad_index_is_named(index, damage, message):
    damage(index.parent)
    with pytest.raises(ManifestError, match=message):
        read_shards(str(index))


def test_a_shard_that_is_missing_or_another_one_is_named_with_the_utterance(index, dataset):
    dataset.utterances = read_shards(str(index))
    shard = index.parent / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(AudioError, match=r"^utterance 'u00': .*shard-000000\.tar: has \d+ bytes, not the \d+ of the"):
        dataset.load(0, 0)
    shard.unlink()
    with pytest.raises(AudioError, match=r"^utterance 'u00': .*shard-000000\.tar: cannot read the shard"):
        dataset.load(0, 0)


def test_damaged_audio_in_a_shard_is_named_by_shard_and_member(index, dataset):
    rows = read_shards(str(index))
    shard = index.parent / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[rows[1].offset : rows[1].offset + 100] = bytes(100)
    shard.write_bytes(content)
    dataset.utterances = rows
    with pytest.raises(AudioError, match=r"^utterance 'u01': shard-000000\.tar/u01\.wav: cannot be read as audio"):
        dataset.load(1, 0)


# Over http


def test_remote_shards_are_fetched_once_and_give_the_same_samples(index, utterances, folder_server, tmp_path):
    rows = read_shards(f"{folder_server.address}/shards.jsonl", cache=tmp_path / "cache")
    assert not any(path.endswith(".tar") for path in folder_server.requests), "the index alone says what there is"
    for row, original in zip(rows, utterances, strict=True):
        copy = pickle.loads(pickle.dumps(row))  # as a worker process gets it
        assert np.array_equal(load_waveform(copy, 16000), load_waveform(original, 16000))
    tars = [path for path in folder_server.requests if path.endswith(".tar")]
    assert tars == [f"shard-{number:06d}.tar" for number in range(6)]


def test_failures_that_pass_are_waited_for(index, folder_server):
    folder_server.failures = 2
    (row, *_) = read_shards(f"{folder_server.address}/shards.jsonl")
    folder_server.failures = store_module.ATTEMPTS - 1
    load_waveform(row, 16000)
    assert folder_server.requests.count("shard-000000.tar") == store_module.ATTEMPTS


def test_failures_that_last_are_told_in_one_line(index, folder_server):
    (row, *_) = read_shards(f"{folder_server.address}/shards.jsonl")
    folder_server.failures = store_module.ATTEMPTS
    with pytest.raises(DownloadError, match=r"shard-000000\.tar: the server answers 503"):
        load_waveform(row, 16000)
    before = len(folder_server.requests)
    with pytest.raises(DownloadError, match=r"nothing\.jsonl: the server answers 404"):
        read_shards(f"{folder_server.address}/nothing.jsonl")
    assert len(folder_server.requests) == before + 1, "asking again would not help"


def test_a_shard_that_is_not_the_one_of_the_index_is_never_used(index, folder_server, tmp_path):
    (row, *_) = read_shards(f"{folder_server.address}/shards.jsonl", cache=tmp_path / "cache")
    shard = tmp_path / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[row.offset + 1000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DownloadError, match=r"shard-000000\.tar: the file is damaged or another one"):
        load_waveform(row, 16000)
    assert not list((tmp_path / "cache").glob("*.tar"))


def test_only_a_few_windows_are_kept_without_a_cache(index, folder_server):
    rows = read_shards(f"{folder_server.address}/shards.jsonl", window=1)
    for row in rows:
        load_waveform(row, 16000)
    assert len(list(rows[0].shard.store.folder.glob("*.tar"))) == store_module.NUM_WINDOWS_KEPT
    load_waveform(rows[0], 16000)  # dropped, and fetched again


def test_a_temporary_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    store = ShardStore("http://somewhere/shards.jsonl", None, 1)
    store.folder.mkdir(parents=True)
    monkeypatch.setattr(store_module.os, "getuid", lambda: store.folder.stat().st_uid + 1)
    with pytest.raises(AsrError, match=r"belongs to another user; set data\.shard_cache"):
        store.fetch("http://somewhere/a.tar", "0" * 64)


def test_the_shards_of_the_next_window_are_named_when_this_one_begins(index, folder_server):
    rows = read_shards(f"{folder_server.address}/shards.jsonl", window=2)
    batches = [[0, 4], [1, 5], [2, 3, 6, 7], [20, 8], [9, 10, 11, 21, 22, 23], [12, 16]]
    planned = list(with_shards_ahead(rows, batches))
    assert [batch for batch, _ in planned] == batches
    ahead = [sorted(shard.number for shard in shards) for _, shards in planned]
    assert ahead == [[2, 5], [], [], [3, 4], [], []]
    local = with_shards_ahead(read_shards(str(index)), batches)
    assert [shards for _, shards in local] == [()] * 6, "local shards need no fetching"


def test_fetching_in_the_background_brings_the_shard_and_keeps_errors_to_itself(index, folder_server, tmp_path):
    rows = read_shards(f"{folder_server.address}/shards.jsonl", cache=tmp_path / "cache")
    missing = replace(rows[4].shard, place=f"{folder_server.address}/gone.tar")
    fetch_in_background([missing]).join()
    fetch_in_background([rows[0].shard]).join()
    assert [path.suffix for path in (tmp_path / "cache").glob("*.tar")] == [".tar"]
    assert isinstance(rows[0], ShardedUtterance)


def test_a_loader_has_later_shards_fetched_while_it_reads_earlier_ones(index, folder_server, dataset, monkeypatch):
    dataset.utterances = read_shards(f"{folder_server.address}/shards.jsonl", window=2)
    seconds = [row.duration for row in dataset.utterances]
    sampler = ShardSampler(seconds, shard_starts(dataset.utterances), window=2, max_batch_seconds=2)
    fetched: list[int] = []
    monkeypatch.setattr(
        loader_module, "fetch_in_background", lambda shards: fetched.extend(shard.number for shard in shards)
    )
    batches = list(Loader(dataset, sampler).epoch(0))
    assert sorted(id for batch in batches for id in batch.ids) == [f"u{number:02}" for number in range(24)]
    used = [number // 4 for batch in sampler.batches(0) for number in batch]
    assert sorted(fetched) == sorted(set(used) - set(dict.fromkeys(used[:8])))
