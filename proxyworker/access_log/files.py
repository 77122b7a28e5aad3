"""Where lines go: standard output, or a directory with a file for each host.

Laws of this module:
- Called by one thread at a time; may block. Raises OSError, and the piece that was to be written is lost then.
- Several processes may write to one directory. Files are opened with O_APPEND and a piece is one write(2), so lines of
  different processes do not mix. Whoever finds a file full rotates it under a lock; the others see by its inode that
  theirs is not the one any more (logrotate's `create` works for the same reason).
- Names are those of `proxyworker.log_files`, which is all that readers know.
"""

import contextlib
import errno
import fcntl
import os
import select
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from proxyworker.access_log.lines import MAX_LINE_BYTES
from proxyworker.log_files import LOCK_FILE, LogKind, file_name

MAX_OPEN_FILES = 64
MAX_PIECE_BYTES = 65_536


class Sink(Protocol):
    """Takes whole lines. `max_piece_bytes`: no more than this at once, but for a line that is longer."""

    max_piece_bytes: int

    def write(self, host: str, piece: bytes) -> None:
        """Writes lines of the host with this name; empty: of none. Raises OSError."""

    def close(self) -> None:
        """No more is written."""


class StandardOutput:
    """Lines on a file descriptor that others may write to as well."""

    # A pipe takes this much without mixing it with what others write (pipe(7)).
    max_piece_bytes = MAX_LINE_BYTES

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor

    def write(self, host: str, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:  # somebody else made the pipe non-blocking
                select.select([], [self._descriptor], [])

    def close(self) -> None:
        """It is not ours to close."""


class Directory:
    """A file for each host in `path`, which is made when it is missing.

    A file that would grow over `max_bytes` is renamed to `.1`, that one to `.2`, up to `backups`. `kind` of its lines.
    """

    max_piece_bytes = MAX_PIECE_BYTES

    def __init__(self, path: Path, *, max_bytes: int, backups: int, kind: LogKind = "access") -> None:
        self._path = path
        self._kind = kind
        self._max_bytes = max_bytes
        self._backups = backups
        self._open: OrderedDict[str, int] = OrderedDict()

    def write(self, host: str, piece: bytes) -> None:
        name = file_name(host, self._kind)
        descriptor = self._current(name)
        if os.fstat(descriptor).st_size + len(piece) > self._max_bytes:
            descriptor = self._rotated(name, len(piece))
        try:
            written = os.write(descriptor, piece)
        except OSError:
            self._forget(name)  # it may be another file system by the time there is room again
            raise
        if written < len(piece):
            self._forget(name)  # opening it again ends the line that was cut off
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        for name in list(self._open):
            self._forget(name)

    def _current(self, name: str) -> int:
        """The descriptor of the file that has this name now."""
        descriptor = self._open.get(name)
        if descriptor is not None and not self._is_current(name, descriptor):
            self._forget(name)
            descriptor = None
        if descriptor is None:
            while len(self._open) >= MAX_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            descriptor = self._open[name] = self._opened(name)
        self._open.move_to_end(name)
        return descriptor

    def _is_current(self, name: str, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path / name), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _opened(self, name: str) -> int:
        self._path.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(self._path / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        size = os.fstat(descriptor).st_size
        # A full disk or a killed process cut a line off: what follows must not be taken for its rest.
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
        return descriptor

    def _rotated(self, name: str, piece_bytes: int) -> int:
        """A file with room for the piece."""
        with self._lock():
            descriptor = self._current(name)  # another process may have been quicker
            size = os.fstat(descriptor).st_size
            if size and size + piece_bytes > self._max_bytes:
                self._shift(self._path / name)
                descriptor = self._current(name)
        return descriptor

    def _shift(self, path: Path) -> None:
        names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, self._backups + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self._path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # and with it the lock

    def _forget(self, name: str) -> None:
        os.close(self._open.pop(name))
