"""A model hub on this machine, as far as huggingface_hub asks it, and the other places where a model may come from."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".bin", ".safetensors")  # are listed with their checksum


class FakeHub(ThreadingHTTPServer):
    """Serves the files of one folder as a repository; `breaks_times` a large file ends after `breaks_after` bytes."""

    daemon_threads = True

    def __init__(self, folder: Path, repo: str) -> None:
        self.folder, self.repo = folder, repo
        self.breaks_after: int | None = None
        self.breaks_times = 0
        self.refuses = False  # to give files to those who have not accepted the conditions
        self.stated_sha256: dict[str, str] = {}  # instead of the true ones
        self.ranges: list[str] = []  # asked for
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def sha256(self, name: str) -> str:
        return self.stated_sha256.get(name) or hashlib.sha256((self.folder / name).read_bytes()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if match := re.match(rf"/api/models/{self.server.repo}(/revision/([^/?]+))?(\?.*)?$", self.path):
            return self._listing()
        if match := re.match(rf"/{self.server.repo}/resolve/([^/]+)/([^?]+)", self.path):
            return self._file(match[2])
        return self._answer(404, b"no such page")

    do_HEAD = do_GET  # noqa: N815

    def _listing(self) -> None:
        siblings = []
        for path in sorted(self.server.folder.iterdir()):
            about = {"rfilename": path.name, "size": path.stat().st_size, "blobId": "a" * 40}
            if path.suffix in LARGE:
                about["lfs"] = {"size": path.stat().st_size, "sha256": self.server.sha256(path.name), "pointerSize": 1}
            siblings.append(about)
        page = {"id": self.server.repo, "modelId": self.server.repo, "sha": COMMIT, "siblings": siblings}
        page |= {"private": False, "tags": [], "downloads": 0, "likes": 0, "cardData": {"license": "mit"}}
        self._answer(200, json.dumps(page).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        path = self.server.folder / name
        if self.server.refuses:
            return self._answer(401, b"", {"X-Error-Code": "GatedRepo"})
        if not path.is_file():
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = path.read_bytes()
        headers = {"ETag": f'"{self.server.sha256(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted is None:
            return self._answer(200, content, headers, path.suffix in LARGE)
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").split("-")[0])
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._answer(206, content[start:], headers, path.suffix in LARGE)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, large: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if large and self.server.breaks_after is not None and self.server.breaks_times:
            self.server.breaks_times -= 1
            body = body[: self.server.breaks_after if status == 200 else 0]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fake_hub(folder: Path, repo: str) -> Iterator[FakeHub]:
    """A running one."""
    server = FakeHub(folder, repo)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def install(site: Path, distribution: str, version: str, files: dict[str, bytes]) -> None:
    """Put a distribution into a folder of packages, as pip leaves one; its module would fail if it were imported."""
    package = distribution.replace("-", "_")
    info = site / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    for name, content in {f"{package}/__init__.py": b"raise ImportError('data only')", **files}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)


def put_into_cache(cache: Path, repo: str, source: Path) -> Path:
    """Lay files into a hub's cache as its client does: blobs, and a snapshot of links to them."""
    base = cache / f"models--{repo.replace('/', '--')}"
    snapshot = base / "snapshots" / COMMIT
    for folder in (base / "blobs", snapshot, base / "refs"):
        folder.mkdir(parents=True)
    (base / "refs" / "main").write_text(COMMIT)
    for path in source.iterdir():
        blob = base / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(blob)
    return snapshot
