"""What runs on this machine, from /proc."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process as it was when it was looked at."""

    pid: int
    parent_pid: int
    command: str
    rss_bytes: int


def processes_of(data_dir: Path) -> list[Process]:
    """All processes, of whatever parent, that belong to the instance in `data_dir`."""
    marks = (f"AEGIS_DATA_DIR={data_dir}".encode(), f"{data_dir}/".encode())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = _words(entry / "cmdline") + _words(entry / "environ")
            if any(word == marks[0] or marks[1] in word for word in words) and int(entry.name) != os.getpid():
                found.append(_read(entry))
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return [process for process in found if process.command]


def _words(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\0")


def _read(entry: Path) -> Process:
    status = dict(_fields((entry / "status").read_text()))
    return Process(
        pid=int(entry.name),
        parent_pid=int(status["PPid"]),
        command=(entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip(),
        rss_bytes=int(status.get("VmRSS", "0 kB").split()[0]) * 1024,
    )


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()
