"""Python processes that begin with everything imported: forks of one that waits. torch alone takes two seconds to load.

For tests that need a process of their own (to be killed, limited, or one of several ranks) but not its imports.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
LOADED = (
    "asr.cli.main",
    "asr.experiments.launch",
    "asr.experiments.asr_task",
    "asr.experiments.lm_task",
    "asr.transcribe.run",
    "asr.transcribe.recognizer",
    "torch.distributed.rendezvous",
    "torch.distributed.tensor",  # this and the next when torch first takes a step, matplotlib for the curves of a run
    "torch._dynamo",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
)
MAX_REQUEST = 1 << 20  # bytes

_server: socket.socket | None = None


@dataclass(frozen=True)
class WarmProcess:
    """One that runs."""

    pid: int
    arguments: tuple[str, ...]
    out: IO[bytes]
    err: IO[bytes]
    status: IO[bytes]

    def wait(self) -> subprocess.CompletedProcess[str]:
        """What it came to: the status as that of `subprocess`, and what it wrote."""
        status = int(self.status.read())
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode())
        return subprocess.CompletedProcess(self.arguments, status, *texts)


def start(*arguments: str, env: Mapping[str, str] | None = None) -> WarmProcess:
    """`python ARGUMENT ...` in the working directory of the caller; takes -c CODE, -m MODULE or a file, no options."""
    server = _connect()
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    reading, writing = os.pipe()
    request = {"arguments": arguments, "folder": str(Path.cwd()), "env": {**os.environ, **(env or {})}}
    message = json.dumps(request).encode()
    assert len(message) < MAX_REQUEST
    socket.send_fds(server, [message], [out.fileno(), err.fileno(), writing])
    os.close(writing)
    status = os.fdopen(reading, "rb")
    return WarmProcess(int(status.readline()), arguments, out, err, status)


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`start`, and wait for its end."""
    return start(*arguments, env=env).wait()


def run_ranks(size: int, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Processes with what `torchrun` would tell them of each other, and a store that outlives them, as its agent's."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    ranks = [start(*arguments, env={**shared, "RANK": str(n), "LOCAL_RANK": str(n)}) for n in range(size)]
    return [rank.wait() for rank in ranks]


def _connect() -> socket.socket:
    global _server
    if _server is None:
        _server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        atexit.register(_server.close)
    return _server


def _serve(requests: socket.socket) -> None:
    """Fork for every request, until the other end is closed; returns in the forks, to run what is asked for."""
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # what is never looked at again stays shared with the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not message:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            break
        for descriptor in descriptors:
            os.close(descriptor)
    requests.close()
    out, err, told = descriptors
    if (program := os.fork()) != 0:
        os.write(told, f"{program}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        os.write(told, str(status).encode())
        os._exit(0)
    os.close(told)
    os.dup2(out, 1)
    os.dup2(err, 2)
    _end(_status_of(lambda: _run(**json.loads(message))))


def _status_of(program: Callable[[], None]) -> int:
    """As Python itself has it."""
    try:
        program()
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End as Python does, but without clearing away all that was imported, which takes a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _run(arguments: list[str], folder: str, env: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = folder
    what, *rest = arguments
    name = rest.pop(0) if what in ("-c", "-m") else what
    sys.argv = [name if what == "-m" else what, *rest]
    main: dict[str, Any] = {"__name__": "__main__"}
    if what == "-c":
        exec(compile(name, "<string>", "exec"), main)
    elif what == "-m":
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(name, run_name="__main__")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
