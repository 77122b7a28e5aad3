"""Log lines as files.

Laws of this module:
- Streamed: of matching lines no more are in memory than the search holds, of a whole file one piece.
- At most MAX_AT_ONCE downloads in a process, whoever asks: each has a thread until its client has read it. Of matching
  lines MAX_LINES, within MAX_SECONDS.
- A download is an attachment and never text that a browser shows.
"""

import datetime
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from django.http import StreamingHttpResponse

from aegis_site.kernel.downloads import in_a_place
from aegis_site.kernel.errors import AegisError
from hosts.logs.entries import LogEntry
from hosts.logs.files import LogFile
from hosts.logs.filters import LogFilter
from hosts.logs.search import PIECE_BYTES, Search
from hosts.upstream_failures import printable

MAX_LINES = 100_000
MAX_SECONDS = 60.0
MAX_BYTES = 16 * 1024**3
MAX_AT_ONCE = 4
RETRY_AFTER_S = 10

Form = Literal["jsonl", "text"]

_MEDIA_TYPES: dict[Form, str] = {"jsonl": "application/jsonl", "text": "text/plain; charset=utf-8"}
_SUFFIXES: dict[Form, str] = {"jsonl": "jsonl", "text": "txt"}

_places = threading.BoundedSemaphore(MAX_AT_ONCE)


class TooManyDownloads(AegisError):
    """MAX_AT_ONCE are on their way; `wait_s` is how long to wait."""

    wait_s = RETRY_AFTER_S

    def __init__(self) -> None:
        super().__init__("too_many_downloads", f"Many logs are being downloaded. Try again in {RETRY_AFTER_S} seconds.")


def matching_lines(files: Sequence[LogFile], wanted: LogFilter, form: Form) -> StreamingHttpResponse:
    """The newest MAX_LINES wanted lines, newest first. Raises TooManyDownloads."""
    line = _json_line if form == "jsonl" else _text_line
    return _response(_lines(files, wanted, line), _MEDIA_TYPES[form], f"aegis-log.{_SUFFIXES[form]}")


def whole_file(file: LogFile) -> StreamingHttpResponse:
    """A file as it is. Raises TooManyDownloads."""
    return _response(_pieces(file), "text/plain; charset=utf-8", f"aegis-{file.name}")


def document(entry: LogEntry) -> dict[str, Any]:
    """A line for machines, as the API has it; null is what the line does not say."""
    return {
        "time": _iso(entry.time),
        "kind": "attempt" if entry.kind == "errors" else "request",
        "host": entry.host or None,
        "request_id": entry.request_id or None,
        "client": entry.client or None,
        "scheme": entry.scheme or None,
        "method": entry.method or None,
        "target": entry.target or None,
        "protocol": entry.protocol or None,
        "status": entry.status,
        "bytes_received": entry.bytes_received,
        "bytes_sent": entry.bytes_sent,
        "duration_ms": entry.duration_ms,
        "upstream": entry.upstream or None,
        "upstream_status": entry.upstream_status,
        "attempts": entry.attempts,
        "upstream_connect_ms": entry.upstream_connect_ms,
        "upstream_tls_ms": entry.upstream_tls_ms,
        "code": entry.code or None,
        "phase": entry.phase or None,
        "reason": entry.reason or None,
        "referer": entry.referer or None,
        "user_agent": entry.user_agent or None,
    }


def _iso(at: datetime.datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _json_line(entry: LogEntry) -> bytes:
    return json.dumps(document(entry)).encode() + b"\n"


def _text_line(entry: LogEntry) -> bytes:
    what = f"{entry.phase} {entry.reason}" if entry.kind == "errors" else f"{entry.method} {entry.target}"
    columns = (
        _iso(entry.time),
        entry.host,
        entry.request_id,
        entry.client,
        "" if entry.status is None else str(entry.status),
        what,
        entry.upstream,
        entry.code,
    )
    return "\t".join(printable(column, None) or "-" for column in columns).encode() + b"\n"


def _lines(files: Sequence[LogFile], wanted: LogFilter, line: Any) -> Iterator[bytes]:
    run = Search(files, wanted, deadline_s=MAX_SECONDS, max_bytes=MAX_BYTES)
    for _, entry in zip(range(MAX_LINES), run.entries(), strict=False):
        yield line(entry)


def _pieces(file: LogFile) -> Iterator[bytes]:
    for start in range(0, file.size, PIECE_BYTES):
        yield file.read(start, min(file.size, start + PIECE_BYTES))


def _response(chunks: Iterator[bytes], media_type: str, file_name: str) -> StreamingHttpResponse:
    held = in_a_place(_places, chunks)
    if held is None:
        raise TooManyDownloads
    response = StreamingHttpResponse(held, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{file_name}"'
    response["Cache-Control"] = "no-store"
    return response
