"""Files are written whole or not at all, and into what stands at their path."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from asr.errors import AsrError
from asr.system.runtime import atomic_path, write_text_atomic

NULL_DEVICE, FULL_DEVICE = (1, 3), (1, 7)  # numbers of Linux


def make_device(path: Path, numbers: tuple[int, int]) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(*numbers))
        path.open("wb").close()
    except OSError:
        pytest.skip("only root can make device nodes, and not on every file system")


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old", encoding="utf-8")
    with suppress(RuntimeError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("new", encoding="utf-8")
        raise RuntimeError
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_folders_above_a_file_are_made(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "b" / "c" / "a", "text")
    assert (tmp_path / "b" / "c" / "a").read_text(encoding="utf-8") == "text"


@pytest.mark.parametrize("old", ["old", None])
def test_a_symbolic_link_stays_one_and_its_target_gets_the_content(tmp_path: Path, old: str | None) -> None:
    target, link, second = tmp_path / "below" / "target", tmp_path / "link", tmp_path / "second"
    target.parent.mkdir()
    if old is not None:
        target.write_text(old, encoding="utf-8")
    link.symlink_to(Path("below", "target"))
    second.symlink_to("link")
    write_text_atomic(second, "new")
    assert link.readlink() == Path("below/target")
    assert second.readlink() == Path("link")
    assert target.read_text(encoding="utf-8") == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(AsrError, match="a: cannot write"):
        write_text_atomic(tmp_path / "a", "text")
    assert (tmp_path / "a").is_symlink()


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    write_text_atomic(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")), daemon=True)
    reader.start()
    write_text_atomic(pipe, "through the pipe")
    reader.join()
    assert read == ["through the pipe"]
    assert pipe.is_fifo()


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    make_device(tmp_path / "null", NULL_DEVICE)
    write_text_atomic(tmp_path / "null", "gone")
    assert (tmp_path / "null").is_char_device()


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_full_device_is_an_error_and_stays_a_device(tmp_path: Path, is_linked: bool) -> None:
    make_device(tmp_path / "full", FULL_DEVICE)
    (tmp_path / "link").symlink_to("full")
    with pytest.raises(AsrError, match="No space left"):
        write_text_atomic(tmp_path / ("link" if is_linked else "full"), "text")
    assert (tmp_path / "full").is_char_device()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files have no paths here")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_standard_output_by_name_is_the_open_file_not_one_to_replace(tmp_path: Path, name: str, kind: str) -> None:
    """Also when it is a file: what was printed before stays before it, what is printed later comes after it."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = (
        "import sys; from pathlib import Path; from asr.system.runtime import write_text_atomic; "
        "print('before'); write_text_atomic(Path(sys.argv[1]), 'between\\n'); print('after')"
    )
    command = [sys.executable, "-c", program, name if name.startswith("/") else str(tmp_path / name)]
    if kind == "pipe":
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    else:
        with open(tmp_path / "out", "w", encoding="utf-8") as out:
            subprocess.run(command, stdout=out, check=True)
        printed = (tmp_path / "out").read_text(encoding="utf-8")
    assert printed == "before\nbetween\nafter\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_be_written_in_a_folder_that_may_not_is(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a"
    path.parent.mkdir()
    path.write_text("old", encoding="utf-8")
    path.parent.chmod(0o555)
    try:
        write_text_atomic(path, "new")
    finally:
        path.parent.chmod(0o755)
    assert path.read_text(encoding="utf-8") == "new"
