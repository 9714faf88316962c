"""Downloads resume, are verified and fail in one line, against a server on this machine."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from asr.data.download import download, extract
from asr.errors import DownloadError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path and remembers from which byte each request wanted it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.with_ranges = True
        self.breaks_after: list[int] = []  # for each coming request, the bytes sent before the connection is cut
        self.starts: list[int] = []
        self.secrets: list[tuple[str, str | None]] = []  # paths, and what came as authorization

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/corpus.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.server.secrets.append((self.path, self.headers.get("Authorization")))
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/corpus.tar")
            self.end_headers()
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.starts.append(start)
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not self.server.with_ranges:
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        sent = self.server.breaks_after.pop(0) if self.server.breaks_after else len(CONTENT)
        self.wfile.write(CONTENT[start:][:sent])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "corpus.tar"


def part_of(target: Path, content: bytes) -> Path:
    part = target.with_name("corpus.tar.part")
    part.parent.mkdir()
    part.write_bytes(content)
    return part


def test_a_file_arrives_whole_with_progress(server, target):
    seen = []
    checksums = {"sha256": SHA256, "md5": hashlib.md5(CONTENT).hexdigest().upper()}
    assert download(server.url, target, **checksums, progress=lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in target.parent.iterdir()] == ["corpus.tar"]


def test_an_earlier_attempt_is_gone_on_with(server, target):
    part_of(target, CONTENT[:400_000])
    download(server.url, target, sha256=SHA256)
    assert server.starts == [400_000]
    assert target.read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_again_at_once(server, target):
    server.breaks_after = [300_000, 200_000]
    download(server.url, target, sha256=SHA256)
    assert server.starts == [0, 300_000, 500_000]
    assert target.read_bytes() == CONTENT


def test_what_came_before_a_lasting_break_is_kept_for_the_next_run(server, target):
    server.breaks_after = [300_000, 0]
    with pytest.raises(DownloadError, match="broke off after 300000 of 1000000 bytes; run it again"):
        download(server.url, target, sha256=SHA256)
    assert not target.exists()
    download(server.url, target, sha256=SHA256)
    assert server.starts[-1] == 300_000
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_makes_the_file_start_over(server, target):
    server.with_ranges = False
    part_of(target, b"stale" * 10)
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_breaks_is_given_up(server, target):
    server.with_ranges = False
    server.breaks_after = [300_000] * 10
    with pytest.raises(DownloadError, match="broke off"):
        download(server.url, target, sha256=SHA256)
    assert len(server.starts) == 2


@pytest.mark.parametrize("surplus", [b"", b"more than there is"])
def test_a_part_with_nothing_missing_is_checked_and_one_too_long_replaced(server, target, surplus):
    part_of(target, CONTENT + surplus)
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched_again(server, target):
    for _ in range(2):
        download(server.url, target, sha256=SHA256)
    download(server.url, target)
    assert server.starts == [0]


def test_a_symbolic_link_stays_one_and_its_target_is_fetched(server, target, tmp_path):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(tmp_path / "elsewhere.tar")
    assert download(server.url, target, sha256=SHA256) == target
    assert target.is_symlink()
    assert (tmp_path / "elsewhere.tar").read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_replaced(server, target):
    target.parent.mkdir()
    target.write_bytes(b"an old release")
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_damaged_download_is_removed_and_reported(server, target):
    part = part_of(target, b"x" + CONTENT[1:400_000])
    with pytest.raises(DownloadError, match=rf"sha256 \w+, expected {SHA256}"):
        download(server.url, target, sha256=SHA256)
    assert not part.exists()
    assert not target.exists()


def test_a_missing_file_is_one_clear_line(server, target):
    with pytest.raises(DownloadError, match=r"/missing: the server answers 404 Not Found; check the address$"):
        download(server.url.replace("corpus.tar", "missing"), target)


def test_a_secret_is_told_to_the_server_that_is_asked_and_to_none_it_points_to(server, target):
    url = server.url.replace("/corpus.tar", "/elsewhere")
    assert download(url, target, sha256=SHA256, headers={"Authorization": "Bearer x"}).read_bytes() == CONTENT
    assert server.secrets == [("/elsewhere", "Bearer x"), ("/corpus.tar", None)]


def test_being_offline_is_one_clear_line(target):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError, match=r"^http://.*: cannot be reached \(.*refused\); check the network.*$"):
            download(f"http://127.0.0.1:{unused.getsockname()[1]}/corpus.tar", target)


def test_a_folder_that_cannot_be_made_is_one_clear_line(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"corpus\.tar: cannot be written"):
        download(server.url, tmp_path / "file" / "corpus.tar")


def make_archive(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["c.tar", "c.tar.gz", "c.zip"])
def test_an_archive_is_unpacked_beside_what_is_there(tmp_path, name):
    out = tmp_path / "out"
    (out / "corpus").mkdir(parents=True)
    (out / "corpus" / "old").write_bytes(b"0")
    archive = make_archive(tmp_path / name, {"corpus/a.wav": b"1", "corpus/deep/b.wav": b"2", "top": b"3"})
    assert extract(archive, out) == out
    assert tree(out) == {"corpus/old": b"0", "corpus/a.wav": b"1", "corpus/deep/b.wav": b"2", "top": b"3"}
    assert sorted(path.name for path in out.iterdir()) == ["corpus", "top"]


@pytest.mark.parametrize("name", ["c.tar", "c.zip"])
def test_an_entry_outside_the_folder_is_refused_and_nothing_unpacked(tmp_path, name):
    archive = make_archive(tmp_path / name, {"good": b"1", "a/../../../evil": b"2"})
    with pytest.raises(DownloadError, match=r"refused, .* would leave the folder"):
        extract(archive, tmp_path / "out")
    assert tree(tmp_path).keys() == {name}


@pytest.mark.parametrize("name", ["c.tar.gz", "c.zip"])
def test_a_truncated_archive_leaves_nothing_behind(tmp_path, name):
    archive = make_archive(tmp_path / name, {"a": CONTENT})
    archive.write_bytes(archive.read_bytes()[:500_000])
    with pytest.raises(DownloadError, match="damaged or not an archive"):
        extract(archive, tmp_path / "out")
    assert tree(tmp_path).keys() == {name}


def test_a_missing_archive_is_one_clear_line(tmp_path):
    with pytest.raises(DownloadError, match=r"c\.tar: cannot be unpacked into .*No such file"):
        extract(tmp_path / "c.tar", tmp_path / "out")
