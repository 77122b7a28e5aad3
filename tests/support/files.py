"""What stands in the files of a running Aegis."""

from contextlib import suppress
from pathlib import Path


def contents_below(directory: Path) -> dict[Path, bytes]:
    """Every file below `directory` with its content, in order of paths. SQLite's log may go while one looks."""
    contents: dict[Path, bytes] = {}
    for path in sorted(directory.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file():
                contents[path] = path.read_bytes()
    return contents
