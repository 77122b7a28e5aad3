"""The files in the log directory: found, and read in pieces.

Laws of this module:
- A file is opened by its name below the directory's descriptor, is no link and is regular, and is the one that was
  found: else there is nothing in it. A descriptor lives for one piece, however many files there are.
- Files grow, are renamed and vanish meanwhile. None of that is an error.
"""

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.conf import settings

from aegis_site.kernel.errors import AegisError
from proxyworker.log_files import LogFileName, LogKind, parsed_name

# With a thousand hosts, both kinds and five older ones of each there are twelve thousand.
MAX_FILES = 50_000


class LogsUnreadable(AegisError):
    """The directory cannot be read by this process."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file as it was when it was looked for. `modified_ms` is never before the time of its last line."""

    directory: Path
    name: LogFileName
    inode: int
    size: int
    modified_ms: int

    def read(self, start: int, end: int) -> bytes:
        """These bytes, or those that there are."""
        try:
            descriptor = self._opened()
        except OSError:  # gone, or it may not be read
            return b""
        if descriptor is None:
            return b""
        try:
            return os.pread(descriptor, max(0, end - start), start)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def _opened(self) -> int | None:
        """Its descriptor, also when it was rotated since it was found."""
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for number in (self.name.number, self.name.number + 1):
                name = str(LogFileName(self.name.stem, self.name.kind, number))
                with contextlib.suppress(FileNotFoundError):
                    # O_NONBLOCK: a pipe of that name must not be waited for.
                    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                    descriptor = os.open(name, flags, dir_fd=directory)
                    found = os.fstat(descriptor)
                    if stat.S_ISREG(found.st_mode) and found.st_ino == self.inode:
                        return descriptor
                    os.close(descriptor)
        finally:
            os.close(directory)
        return None


def log_directory() -> Path | None:
    """Where the files of this machine's workers are. None: lines go to standard output, or there are none."""
    return settings.AEGIS_ACCESS_LOG if isinstance(settings.AEGIS_ACCESS_LOG, Path) else None


def log_files(directory: Path, *, kinds: Collection[LogKind], stem: str | None = None) -> list[LogFile]:
    """The log files of these kinds, of the host with this stem or of all. Raises LogsUnreadable.

    A directory that is not there has none: nothing was logged yet.
    """
    try:
        with os.scandir(directory) as entries:
            found = _found(directory, islice(entries, MAX_FILES), kinds, stem)
            # One that is rotated just now may be there twice.
            return list({file.inode: file for file in found}.values())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogsUnreadable("logs_unreadable", f"The log directory cannot be read: {error.strerror}.") from error


def _found(
    directory: Path, entries: Iterator["os.DirEntry[str]"], kinds: Collection[LogKind], stem: str | None
) -> Iterator[LogFile]:
    for entry in entries:
        name = parsed_name(entry.name)
        if name is None or name.kind not in kinds or stem not in (None, name.stem):
            continue
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # it vanished
            continue
        if stat.S_ISREG(found.st_mode) and found.st_size:
            yield LogFile(directory, name, found.st_ino, found.st_size, found.st_mtime_ns // 1_000_000)
