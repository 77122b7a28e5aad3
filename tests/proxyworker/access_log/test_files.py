"""Where lines go: standard output, or a directory with a file for each host."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aegis_site.environment import BASE_DIR
from proxyworker.access_log import files
from proxyworker.access_log.files import Directory, StandardOutput
from proxyworker.log_files import LOCK_FILE, file_name


def directory(path: Path, max_bytes: int = 1_000_000, backups: int = 2) -> Directory:
    return Directory(path / "log", max_bytes=max_bytes, backups=backups)


def contents(path: Path) -> dict[str, bytes]:
    """All files but the lock."""
    return {each.name: each.read_bytes() for each in (path / "log").iterdir() if each.name != LOCK_FILE}


def test_lines_are_in_the_file_of_their_host(tmp_path: Path) -> None:
    """Appended to what is there; the directory is made, for nobody but the owner and the group."""
    for _ in range(2):
        log = directory(tmp_path)
        log.write("one", b"1\n")
        log.write("", b"0\n")
        log.close()
    assert contents(tmp_path) == {"one.log": b"1\n1\n", file_name(""): b"0\n0\n"}
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0
    assert (tmp_path / "log" / "one.log").stat().st_mode & 0o007 == 0


def test_rotation_by_size_and_number(tmp_path: Path) -> None:
    """A file never grows over its size; the oldest of more than `backups` goes."""
    log = directory(tmp_path, max_bytes=10)
    for number in range(7):
        log.write("one", b"%d234\n" % number)
    log.close()
    assert contents(tmp_path) == {
        "one.log": b"6234\n",
        "one.log.1": b"4234\n5234\n",
        "one.log.2": b"2234\n3234\n",
    }


def test_a_piece_larger_than_a_file_is_written(tmp_path: Path) -> None:
    """Into a file of its own."""
    log = directory(tmp_path, max_bytes=10)
    log.write("one", b"a\n")
    log.write("one", b"x" * 50 + b"\n")
    log.write("one", b"b\n")
    log.close()
    assert [len(text) for _, text in sorted(contents(tmp_path).items())] == [2, 51, 2]


def test_a_file_that_was_moved_or_removed_is_made_anew(tmp_path: Path) -> None:
    """As logrotate does it, and as an operator in a hurry does."""
    log = directory(tmp_path)
    log.write("one", b"1\n")
    (tmp_path / "log" / "one.log").rename(tmp_path / "log" / "moved")
    log.write("one", b"2\n")
    assert contents(tmp_path) == {"one.log": b"2\n", "moved": b"1\n"}
    (tmp_path / "log" / "one.log").unlink()
    (tmp_path / "log" / "moved").unlink()
    (tmp_path / "log").rmdir()
    log.write("one", b"3\n")
    log.close()
    assert contents(tmp_path) == {"one.log": b"3\n"}


def test_open_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for longest is closed; none is left open at the end."""
    monkeypatch.setattr(files, "MAX_OPEN_FILES", 3)
    before = len(os.listdir("/proc/self/fd"))
    log = directory(tmp_path)
    for host in "abcdabcdef":
        log.write(host, b"1\n")
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    log.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert contents(tmp_path)["a.log"] == b"1\n1\n"


def test_a_line_that_was_cut_off_is_ended(tmp_path: Path) -> None:
    """By a killed process or a full disk: what comes next is not taken for its rest."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "one.log").write_bytes(b"who")
    log = directory(tmp_path)
    log.write("one", b"le\n")
    log.close()
    assert contents(tmp_path) == {"one.log": b"who\nle\n"}


def test_a_full_disk_is_told_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a piece may be written; when there is room again, lines are whole again."""
    real_write = os.write
    log = directory(tmp_path)
    log.write("one", b"1\n")
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:3]))
    with pytest.raises(OSError, match="No space left") as raised:
        log.write("one", b"lost\n")
    assert raised.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "write", real_write)
    log.write("one", b"2\n")
    log.close()
    assert contents(tmp_path) == {"one.log": b"1\nlos\n2\n"}


def test_a_path_that_cannot_be_a_directory_is_told(tmp_path: Path) -> None:
    """By an OSError, each time, and nothing stays open."""
    (tmp_path / "log").write_text("a file")
    log = directory(tmp_path)
    for _ in range(2):
        with pytest.raises(OSError, match=r"exists|directory"):
            log.write("one", b"1\n")
    log.close()


WRITER = """
import sys
from pathlib import Path
from proxyworker.access_log.files import Directory
log = Directory(Path(sys.argv[1]), max_bytes=20_000, backups=1000)
for number in range(2000):
    log.write("one", b"%b %d %b\\n" % (sys.argv[2].encode(), number, b"x" * 40))
log.close()
"""


def test_processes_rotate_one_file_together(tmp_path: Path) -> None:
    """Every line of every process is there once and whole, in files of the right size."""
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "log"), name], cwd=BASE_DIR) for name in "ab"
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    written = contents(tmp_path)
    lines = b"".join(written.values()).splitlines()
    assert sorted(lines) == sorted(b"%b %d %b" % (name, n, b"x" * 40) for name in (b"a", b"b") for n in range(2000))
    assert len(written) >= 2 * 2000 * 44 // 20_000
    # A line may still go to a file that was renamed between the look and the write.
    assert max(map(len, written.values())) <= 20_000 + 200


def test_standard_output_waits_for_a_pipe_that_is_full(tmp_path: Path) -> None:
    """Also when somebody made it non-blocking."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    piece = b"x" * 4095 + b"\n"
    output = StandardOutput(writing)
    received: list[bytes] = []

    def write() -> None:
        for _ in range(40):
            output.write("one", piece)
        output.close()
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    while data := os.read(reading, 65_536):
        received.append(data)
    thread.join()
    os.close(reading)
    assert b"".join(received) == piece * 40
