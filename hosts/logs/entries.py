"""From a line to what it says.

Laws of this module: pure, and never raises for what stands in a line: whoever can write into the directory can write
anything. A value of another type than the worker writes counts as missing, and times are UTC in milliseconds.
"""

import datetime
import json
import re
from dataclasses import dataclass
from typing import Any

from proxyworker.log_files import LogFileName, LogKind

# Beyond that it is no line of ours (`proxyworker.access_log.lines.MAX_LINE_BYTES`).
MAX_LINE_BYTES = 8192

_is_json_time = re.compile(rb'\{"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3})Z"').match
_is_combined_time = re.compile(
    rb"[^ \[\]]{1,800} - - \[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) \+0000\]"
).match
_is_combined = re.compile(
    r'(?P<client>[^ ]+) - - \[[^]]+\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>[0-9]{3}) (?P<bytes>[0-9]{1,18}) '
    r'"(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)"'
).fullmatch
IN_EACH_COMBINED_LINE = b" - - ["
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# The last moment that fits into the thirteen digits of a key.
MAX_TIME_MS = 10**13 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line. Empty or None is what it does not say.

    `key` orders the lines of all files by time and place, and is the cursor that goes on behind this line. In the error
    log `code`, `phase` and `reason` say what failed; in an access log `code` is that of the last failed attempt, also
    when a later one succeeded.
    """

    key: str
    kind: LogKind
    time_ms: int
    host: str
    request_id: str = ""
    client: str = ""
    scheme: str = ""
    method: str = ""
    target: str = ""
    protocol: str = ""
    referer: str = ""
    user_agent: str = ""
    status: int | None = None
    upstream: str = ""
    upstream_status: int | None = None
    attempts: int | None = None
    code: str = ""
    phase: str = ""
    reason: str = ""
    duration_ms: int | None = None
    bytes_received: int | None = None
    bytes_sent: int | None = None
    upstream_connect_ms: int | None = None
    upstream_tls_ms: int | None = None

    @property
    def time(self) -> datetime.datetime:
        """When the answer ended, or the attempt failed."""
        return moment(self.time_ms)

    @property
    def is_failure(self) -> bool:
        """Whether it belongs to what failed: a failed attempt, or an answer that says so."""
        return self.kind == "errors" or bool(self.code) or (self.status or 0) >= 500


def moment(time_ms: int) -> datetime.datetime:
    """A time in UTC."""
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)


def time_of(line: bytes) -> int | None:
    """When, in milliseconds of Unix time; None: it is no line of a log."""
    if found := _is_json_time(line):
        second, milliseconds = found.groups()
        return _unix_ms(second.decode(), int(milliseconds))
    if found := _is_combined_time(line):
        day, month, year, *clock = (part.decode() for part in found.groups())
        number = _MONTHS.index(month) + 1 if month in _MONTHS else 0
        return _unix_ms(f"{year}-{number:02d}-{day}T{':'.join(clock)}", 0)
    return None


def _unix_ms(text: str, milliseconds: int) -> int | None:
    try:
        at = datetime.datetime.fromisoformat(f"{text}+00:00")
    except ValueError:
        return None
    return max(0, int(at.timestamp()) * 1000 + milliseconds)


def entry_of(line: bytes, *, file: LogFileName, key: str, time_ms: int) -> LogEntry | None:
    """What a line says; None: nothing that can be understood. `key` and `time_ms` are known already."""
    if len(line) > MAX_LINE_BYTES:
        return None
    if line.startswith(b"{"):
        return _from_json(line, file, key, time_ms)
    return _from_combined(line.decode("ascii", "backslashreplace"), file, key, time_ms)


def _from_json(line: bytes, file: LogFileName, key: str, time_ms: int) -> LogEntry | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    is_error = file.kind == "errors"
    return LogEntry(
        key=key,
        kind=file.kind,
        time_ms=time_ms,
        host=_text(said.get("host")),
        request_id=_text(said.get("request_id")),
        client=_text(said.get("client")),
        scheme=_text(said.get("scheme")),
        method=_text(said.get("method")),
        target=_text(said.get("target")),
        protocol=_text(said.get("protocol")),
        referer=_text(said.get("referer")),
        user_agent=_text(said.get("user_agent")),
        status=_number(said.get("status")),
        upstream=_text(said.get("upstream")),
        upstream_status=_number(said.get("upstream_status")),
        attempts=_number(said.get("attempts")),
        code=_text(said.get("code" if is_error else "upstream_failure")),
        phase=_text(said.get("phase")),
        reason=_text(said.get("reason")),
        duration_ms=_number(said.get("duration_ms")),
        bytes_received=_number(said.get("bytes_received")),
        bytes_sent=_number(said.get("bytes_sent")),
        upstream_connect_ms=_number(said.get("upstream_connect_ms")),
        upstream_tls_ms=_number(said.get("upstream_tls_ms")),
    )


def _from_combined(line: str, file: LogFileName, key: str, time_ms: int) -> LogEntry | None:
    found = _is_combined(line)
    if found is None:
        return None
    method, _, rest = found["request"].partition(" ")
    target, _, protocol = rest.rpartition(" ")
    return LogEntry(
        key=key,
        kind=file.kind,
        time_ms=time_ms,
        host="" if "~" in file.stem else file.stem,
        client=found["client"],
        method="" if method == "-" else method,
        target=target,
        protocol=protocol,
        referer=_told(found["referer"]),
        user_agent=_told(found["user_agent"]),
        status=int(found["status"]),
        bytes_sent=int(found["bytes"]),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    # A boolean is an int too. More than that no column of a client takes.
    return value if type(value) is int and 0 <= value < 2**53 else None


def _told(text: str) -> str:
    return "" if text == "-" else text
