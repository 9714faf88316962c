"""Files that stop a decoder, or the process it runs in, cost their own rows and no others."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from asr.corpora.doctor import pool
from asr.corpora.doctor.audio import AudioFault, AudioFile, Stretch, examine
from asr.corpora.doctor.pool import examine_all


def audio_files(*names: str) -> list[AudioFile]:
    return [AudioFile(Path(name), (Stretch(row, 0.0, 1.0),)) for row, name in enumerate(names)]


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that inherit what a test changed."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr("asr.system.processes.multiprocessing.get_context", lambda method: context)


@pytest.mark.usefixtures("forked")
def test_a_decoder_that_ends_its_process_loses_only_the_file_it_was_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(audio_file: AudioFile) -> list[pool.Result]:
        if audio_file.path.name == "deadly":
            os._exit(1)
        return examine(audio_file)

    monkeypatch.setattr(pool, "examine", fragile)
    monkeypatch.setattr(pool, "CHUNK_FILES", 3)
    names = ["fine"] * 5 + ["deadly"] + ["fine"] * 8
    results = dict(result for some in examine_all(audio_files(*names), workers=2) for result in some)
    faults = [results[row] for row in range(len(names))]
    assert [fault.code for fault in faults if isinstance(fault, AudioFault)] == [
        "unreadable" if name == "deadly" else "missing" for name in names
    ]


@pytest.mark.usefixtures("forked")
def test_leaving_early_leaves_no_process_behind() -> None:
    before = multiprocessing.active_children()
    results = examine_all(audio_files(*["fine"] * 500), workers=2)
    next(results)
    results.close()
    assert multiprocessing.active_children() == before


def test_an_exception_nobody_foresaw_is_a_fault_of_the_file(tmp_path, monkeypatch) -> None:
    def fail(_path: Path) -> None:
        raise MemoryError("a header\nasks for 1 EB")

    monkeypatch.setattr("asr.corpora.doctor.audio.audio_info", fail)
    (tmp_path / "a.wav").touch()
    ((results),) = examine_all(audio_files(str(tmp_path / "a.wav")))
    assert results == [(0, AudioFault("unreadable", "cannot be decoded (a header asks for 1 EB)"))]
