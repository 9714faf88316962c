"""The clients of `tools/bench serve` get what the server says, in order, and count what they waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.audio.io import load_audio
from tools.benchmarks.serve_load import percentile, send_files, speak


def port_of(server: str) -> int:
    return int(server.rpartition(":")[2])


def test_files_are_answered_in_their_order(server: str, tiny_workspace: Path, file: Path, text: str) -> None:
    files = [tiny_workspace / "audio" / f"{number}.wav" for number in range(6)]
    replies = send_files(port_of(server), files * 2, 3)
    assert len(replies) == 12
    assert [reply.text for reply in replies[:6]] == [reply.text for reply in replies[6:]]
    assert replies[5].text == text
    assert all(0 < reply.seconds == reply.ended - reply.began for reply in replies)
    assert send_files(port_of(server), files, 2, stop_after=0.0) == []
    with pytest.raises(AssertionError, match="cannot be read"):
        send_files(port_of(server), [tiny_workspace / "hot.txt"], 1)


def test_streams_are_spoken_at_their_own_speed(server: str, file: Path) -> None:
    waveform = load_audio(file)[:16000]
    replies, waits = speak(port_of(server), [waveform, waveform])
    assert replies[0].text == replies[1].text != ""
    for reply in replies:
        assert reply.ended - reply.began >= 1.0
        assert 0 < reply.seconds < reply.ended - reply.began
    assert len(waits) >= 2


def test_percentiles_are_values_that_so_many_do_not_exceed() -> None:
    values = [3.0, 1.0, 2.0, 4.0]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.75, 0.95)] == [1.0, 2.0, 3.0, 4.0]
