"""The names of log files: what the worker that writes them and whoever reads them agree on, beside the snapshot.

Laws of this module:
- Standard library only, no file is touched: Django apps import it, as they do `proxyworker.snapshot`.
- The name of a file can be told from the host's name alone; two hosts never share one, whatever they are called.
- What stands in a name never leads out of the directory: no separator, no leading dot.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

# "access": a line for each answered request. "errors": one for each failed attempt at an upstream.
LogKind = Literal["access", "errors"]

# `~` is in no name that stands for itself, so the names below cannot collide with one.
NO_HOST_STEM = "~no-host"
LOCK_FILE = "~rotation.lock"
_SUFFIXES: dict[LogKind, str] = {"access": ".log", "errors": "~errors.log"}

# At most 255 bytes (NAME_MAX) with what is added; no leading dot, which hides a file, and no leading dash.
_is_file_name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}").fullmatch
_unsafe = re.compile(r"[^A-Za-z0-9._-]")
# As short as can be before what follows: a host may be called `a.log`.
_parts = re.compile(r"([A-Za-z0-9._~-]{1,200}?)(~errors)?\.log(?:\.([1-9][0-9]{0,3}))?").fullmatch


@dataclass(frozen=True, slots=True)
class LogFileName:
    """`stem` is that of the host. `number` 0 is the file that is written to, 1 the one before it."""

    stem: str
    kind: LogKind
    number: int

    def __str__(self) -> str:
        name = f"{self.stem}{_SUFFIXES[self.kind]}"
        return f"{name}.{self.number}" if self.number else name


def stem_of(host: str) -> str:
    """What the names of the files of `host` begin with; empty: requests of no host."""
    if not host:
        return NO_HOST_STEM
    if _is_file_name(host):
        return host
    digest = hashlib.sha256(host.encode(errors="backslashreplace")).hexdigest()[:16]
    return f"{_unsafe.sub('_', host)[:64].lstrip('.-')}~{digest}"


def file_name(host: str, kind: LogKind = "access") -> str:
    """The name of the file that lines of `host` are written to."""
    return str(LogFileName(stem_of(host), kind, 0))


def parsed_name(name: str) -> LogFileName | None:
    """What the name of a file says; None: it is no log file."""
    found = _parts(name)
    if found is None or name.startswith((".", "-")):
        return None
    stem, errors, number = found.groups()
    return LogFileName(stem, "errors" if errors else "access", int(number or 0))
