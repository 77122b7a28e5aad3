"""From a line to what it says: the reader of what the worker's own code writes."""

import datetime
import json

import pytest

from hosts.logs.entries import LogEntry, entry_of, time_of
from proxyworker.access_log.lines import failure_line, line_maker
from proxyworker.log_files import LogFileName
from proxyworker.net.telemetry import Record
from tests.hosts.logs.examples import with_target
from tests.proxyworker.access_log.records import ENDED_S, record, request

ACCESS, ERRORS = LogFileName("app.test", "access", 0), LogFileName("app.test", "errors", 3)
NASTY = b'/\xff\xfe"<script>\\\x1b\x7f\xc3\xbc\xe2\x80\xa8?a=%22'


def read(line: bytes, file: LogFileName = ACCESS) -> LogEntry:
    time_ms = time_of(line)
    assert time_ms == (int(ENDED_S * 1000) if line.startswith(b"{") else int(ENDED_S) * 1000)
    entry = entry_of(line.rstrip(b"\n"), file=file, key="k", time_ms=time_ms)
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    "made",
    [
        record(request(b'User-Agent: a"b', b"Referer: /r"), opened_in_s=(0.0012, 0.0036), failure_code="timeout"),
        record(with_target(NASTY), upstream_status=0),
        record(None, host="", target=None, upstream_status=0),
    ],
)
def test_a_line_of_json_is_read_as_it_was_written(made: Record) -> None:
    """Every value of it."""
    line = line_maker("json")(made, 0.0)
    entry, said = read(line), json.loads(line)
    for ours, theirs in {"code": "upstream_failure", "kind": None, "key": None, "time_ms": None}.items():
        if theirs is not None:
            assert getattr(entry, ours) == (said.pop(theirs) or "")
    assert entry.time == datetime.datetime.fromisoformat(said.pop("time"))
    for name, value in said.items():
        assert getattr(entry, name) == ("" if value is None and name in TEXTS else value), name


TEXTS = {"host", "method", "target", "protocol", "referer", "user_agent", "upstream"}


def test_a_line_of_the_error_log() -> None:
    """With what failed, and why."""
    attempt = (ENDED_S, "app.test", "https://10.0.0.7:9443", "tls", "expired", "over <since>\n", b"0a/1")
    entry = read(failure_line(attempt, 0.0), ERRORS)
    assert (entry.kind, entry.host, entry.upstream) == ("errors", "app.test", "https://10.0.0.7:9443")
    assert (entry.phase, entry.code, entry.reason) == ("tls", "expired", "over <since>\n")
    assert (entry.request_id, entry.status, entry.is_failure) == ("0a/1", None, True)


def test_a_long_reason_stays_within_a_line() -> None:
    """Cut, not broken."""
    line = failure_line((ENDED_S, "h" * 500, "u", "tls", "c", "\x00ü" * 5000, b"i" * 500), 0.0)
    assert len(line) < 4096
    assert line.count(b"\n") == 1
    assert read(line, ERRORS).reason.startswith("\x00ü")


def test_the_combined_format() -> None:
    """As far as it says anything."""
    entry = read(line_maker("combined")(record(request(b'User-Agent: a"b', target=b"/a b".replace(b" ", b"+"))), 0.0))
    assert (entry.client, entry.method, entry.target, entry.protocol) == ("192.0.2.7", "GET", "/a+b", "HTTP/1.1")
    assert (entry.status, entry.bytes_sent, entry.user_agent, entry.host) == (200, 3456, "a\\x22b", "app.test")
    assert read(line_maker("combined")(record(None), 0.0)).method == ""
