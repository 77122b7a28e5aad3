"""Log files as workers write them."""

import datetime
import json
from pathlib import Path
from typing import Any

from proxyworker.log_files import LogFileName, LogKind, stem_of
from proxyworker.protocol.request import RequestHead
from tests.proxyworker.access_log.records import request

NOW = datetime.datetime(2026, 5, 4, 12, 0, tzinfo=datetime.UTC)


def with_target(target: bytes) -> RequestHead:
    """A request for this, also where a client could not have sent it."""
    head = request()
    head.target = target
    return head


def at(seconds: float) -> str:
    """A time so long before NOW, as lines have it."""
    moment = NOW - datetime.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def answered(seconds: float = 0, **said: Any) -> dict[str, Any]:
    """What a line says of a request that was answered so long before NOW."""
    return {
        "time": at(seconds),
        "host": "app.test",
        "client": "192.0.2.7",
        "scheme": "https",
        "status": 200,
        "bytes_received": 120,
        "bytes_sent": 3456,
        "duration_ms": 250,
        "request_id": f"0a0b0c0d{int(seconds * 1000) % 10**8:08d}",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "referer": None,
        "user_agent": "curl/8",
        "upstream": "https://10.0.0.7:9443",
        "upstream_status": 200,
        "attempts": 1,
        "upstream_failure": None,
        "upstream_connect_ms": None,
        "upstream_tls_ms": None,
        **said,
    }


def attempted(seconds: float = 0, **said: Any) -> dict[str, Any]:
    """What a line says of an attempt that failed so long before NOW."""
    return {
        "time": at(seconds),
        "host": "app.test",
        "request_id": f"0a0b0c0d{int(seconds * 1000) % 10**8:08d}",
        "upstream": "https://10.0.0.7:9443",
        "phase": "tls",
        "code": "unknown_authority",
        "reason": "unable to get local issuer certificate",
        **said,
    }


def as_line(said: dict[str, Any]) -> bytes:
    """As the worker writes it."""
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def write(directory: Path, *lines: Any, host: str = "app.test", kind: LogKind = "access", number: int = 0) -> Path:
    """Appends lines, which are oldest first: of what they say, or as they are."""
    directory.mkdir(exist_ok=True)
    path = directory / str(LogFileName(stem_of(host), kind, number))
    with path.open("ab") as file:
        file.writelines(line if isinstance(line, bytes) else as_line(line) for line in lines)
    return path
