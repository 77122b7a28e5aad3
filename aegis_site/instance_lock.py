"""One running instance per data directory.

Laws of this module: the kernel's lock decides, the process id in the file is only what people are told. A file left
behind by a dead process holds nobody up, and the file is never removed: a remover would race with the next one to lock.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

LOCK_FILE = "aegis.lock"


class AlreadyRunning(Exception):
    """Another process holds the data directory. `pid` is what it wrote into the lock file, or empty."""

    def __init__(self, directory: Path, pid: str) -> None:
        super().__init__(f"Aegis already runs on {directory} (pid {pid or 'unknown'}); stop it first")
        self.pid = pid


class InstanceLock:
    """Holds `directory` while the `with` block runs. Raises AlreadyRunning on entering. exec(2) lets go of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = -1

    def __enter__(self) -> Self:
        # Python's descriptors close on exec, so no child can keep the lock alive.
        self._file = os.open(self._directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise AlreadyRunning(self._directory, pid) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closing alone would leave the lock with a child that was forked meanwhile and has not got to its exec.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)
