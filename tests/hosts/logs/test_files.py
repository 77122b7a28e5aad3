"""The files in the log directory: found, and read in pieces."""

import os
from pathlib import Path

from hosts.logs.files import log_files
from hosts.logs.filters import LogFilter
from hosts.logs.search import search
from proxyworker.access_log.files import Directory
from tests.hosts.logs.examples import answered, write

KINDS = ("access", "errors")


def test_only_regular_files_below_the_directory_are_opened(tmp_path: Path) -> None:
    """A link to what this process could read, a pipe that would block, and a directory are passed over."""
    outside = write(tmp_path / "outside", answered(target="/secret"))
    log = tmp_path / "log"
    write(log, answered(1, target="/a"))
    (log / "link.log").symlink_to(outside)
    os.mkfifo(log / "pipe.log")
    (log / "folder.log").mkdir()
    files = log_files(log, kinds=KINDS)
    assert [str(file.name) for file in files] == ["app.test.log"]
    # Put in its place after it was found.
    (log / "app.test.log").unlink()
    (log / "app.test.log").symlink_to(outside)
    assert files[0].read(0, 100) == b""
    assert search(files, LogFilter()).entries == []
    assert log_files(tmp_path / "absent", kinds=KINDS) == []


def test_what_the_worker_writes_is_found(tmp_path: Path) -> None:
    """By host and kind, the older files too; neither the lock nor the files of other hosts."""
    for kind in KINDS:
        sink = Directory(tmp_path, max_bytes=100, backups=2, kind=kind)  # type: ignore[arg-type]
        for number in range(3):
            sink.write("a b", b"%d" % number + b"x" * 80 + b"\n")
        sink.write("", b"0\n")
        sink.close()
    stem = next(file.name.stem for file in log_files(tmp_path, kinds=KINDS) if file.name.stem.startswith("a_b~"))
    found = log_files(tmp_path, kinds=("errors",), stem=stem)
    assert sorted((file.name.number, file.read(0, 1)) for file in found) == [(0, b"2"), (1, b"1"), (2, b"0")]
    assert len(log_files(tmp_path, kinds=KINDS)) == 8


def test_a_file_is_read_where_it_went(tmp_path: Path) -> None:
    """Renamed once since it was found, it is the same; replaced, there is nothing in it."""
    path = write(tmp_path, answered(target="/a"))
    (found,) = log_files(tmp_path, kinds=KINDS)
    path.rename(f"{path}.1")
    write(tmp_path, answered(target="/b"))
    assert b'"/a"' in found.read(0, 1000)
    os.unlink(f"{path}.1")
    assert found.read(0, 1000) == b""
