"""From the record of a request to its line."""

import dataclasses
import json
import re
from typing import Any

import pytest

from proxyworker.access_log.lines import MAX_LINE_BYTES, line_maker
from proxyworker.net.telemetry import Record
from proxyworker.protocol.request import parse_repetition
from tests.proxyworker.access_log.records import TARGET, record, request

FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

# Apache's combined format, as the programs that read it split it.
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+)'
    r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)"\n'
)


def as_json(made: Record) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line_maker("json")(made, 0.0))
    return document


def as_combined(made: Record) -> dict[str, str]:
    line = line_maker("combined")(made, 0.0).decode("ascii")
    matched = COMBINED.fullmatch(line)
    assert matched, line
    return matched.groupdict()


def test_json_line_has_all_fields() -> None:
    """In one object on one line, always with the same keys."""
    head = request(b"User-Agent: " + FIREFOX, b"Referer:  https://example.org/x ")
    assert as_json(record(head, opened_in_s=(0.0012, 0.0036), failure_code="timeout")) == {
        "time": "2026-11-24T09:30:09.500Z",
        "host": "app.test",
        "client": "192.0.2.7",
        "scheme": "https",
        "status": 200,
        "bytes_received": 120,
        "bytes_sent": 3456,
        "duration_ms": 250,
        "request_id": "0a0b0c0d00000001",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "referer": "https://example.org/x",
        "user_agent": FIREFOX.decode(),
        "upstream": "https://10.0.0.7:9443",
        "upstream_status": 200,
        "attempts": 2,
        "upstream_failure": "timeout",
        "upstream_connect_ms": 1,
        "upstream_tls_ms": 3,
    }


def test_json_line_of_what_there_is_not() -> None:
    """Is null: a request that could not be read, no host, no upstream, no handshake."""
    full = as_json(record(request()))
    nothing = as_json(record(None, host="", target=None, upstream_status=0))
    assert list(nothing) == list(full)
    assert {name for name, value in nothing.items() if value is None} == {
        "host",
        "method",
        "target",
        "protocol",
        "referer",
        "user_agent",
        "upstream",
        "upstream_status",
        "upstream_failure",
        "upstream_connect_ms",
        "upstream_tls_ms",
    }
    opened = as_json(record(request(), opened_in_s=(0.5, None)))
    assert (opened["upstream_connect_ms"], opened["upstream_tls_ms"]) == (500, None)


def test_times_are_moved_to_unix_time() -> None:
    """A record's times are those of the loop's clock."""
    line = line_maker("json")(record(request()), 3600.25)
    assert json.loads(line)["time"] == "2026-11-24T10:30:09.750Z"


def test_combined_line() -> None:
    """As Apache writes it with `%O`; what there is not is a dash."""
    head = request(b"user-agent: " + FIREFOX, version=b"1.0")
    assert as_combined(record(head)) == {
        "client": "192.0.2.7",
        "time": "24/Nov/2026:09:30:09 +0000",
        "request": "GET /a?b=c HTTP/1.0",
        "status": "200",
        "bytes": "3456",
        "referer": "-",
        "user_agent": FIREFOX.decode(),
    }
    assert as_combined(record(None, target=None))["request"] == "-"


@pytest.mark.parametrize(
    "value",
    [
        b'" 200 1 "-" "-"',
        b"\\",
        b'\\"',
        b"a\tb",
        b"\x1b[2J",
        b"\x7f",
        b"\xff\xfe",
        "grüße \u2028 \U0001f600".encode(),
        b'{"status":500}',
        b"${jndi:ldap://x}",
    ],
)
def test_what_a_client_sends_stays_in_its_place(value: bytes) -> None:
    """Quotation marks, backslashes, control characters and bytes that are no text are escaped in both formats."""

    def sent() -> Record:
        # A worker has one format: what it made of a request's fields stays with the request.
        head = request(b"User-Agent: x", b"Referer: x")
        head.lines = [b"User-Agent: " + value, b"Referer: " + value]
        head.target = b"/" + value
        return record(head)

    document = as_json(sent())
    shown = value.decode("utf-8", "backslashreplace").strip()
    assert (document["user_agent"], document["referer"]) == (shown, shown)
    assert document["target"] == "/" + value.decode("utf-8", "backslashreplace")
    assert document["status"] == 200
    fields = as_combined(sent())
    assert fields["status"] == "200"
    unescaped = re.sub(rb"\\x([0-9A-F]{2})", lambda hit: bytes([int(hit[1], 16)]), fields["user_agent"].encode())
    assert unescaped == value.strip()
    for form in ("json", "combined"):
        line = line_maker(form)(sent(), 0.0)  # type: ignore[arg-type]
        assert line.isascii()
        assert line[:-1].decode().isprintable()


@pytest.mark.parametrize("form", ["json", "combined"])
@pytest.mark.parametrize("byte", [b"x", b"\x01", b"\xff", b'"', "ü".encode(), "\U0001f600".encode()])
def test_lines_are_never_longer_than_a_pipe_takes_at_once(form: Any, byte: bytes) -> None:
    """Whatever is sent, named or configured; JSON stays JSON where it is cut."""
    long = byte * 8000
    text = long.decode("latin-1")
    head = request()
    head.target = long
    head.lines = [b"Referer: " + long, b"User-Agent: " + long]
    upstream = dataclasses.replace(TARGET, label=text)
    made = record(
        head,
        host=text,
        client_address=text,
        request_id=long,
        target=upstream,
        failure_code=text,
        opened_in_s=(1e6, 1e6),
    )
    made = (*made[:2], 10**15, 10**15, *made[4:])
    line = line_maker(form)(made, 0.0)
    assert len(line) <= MAX_LINE_BYTES
    assert line.count(b"\n") == 1
    if form == "json":
        assert json.loads(line)["status"] == 200


def test_secrets_are_not_in_a_line() -> None:
    """Fields that prove who somebody is are not among those that are shown."""
    head = request(b"Authorization: Bearer canary", b"Cookie: session=canary", b"X-Api-Key: canary", b"Range: canary")
    for form in ("json", "combined"):
        assert b"canary" not in line_maker(form)(record(head), 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["json", "combined"])
def test_fields_of_a_repeated_section_are_shown_with_each_request(form: Any) -> None:
    """Before and after the first line was made, and never those of another section."""
    line = line_maker(form)
    first = request(b"User-Agent: one")
    before = parse_repetition(b"GET /2 HTTP/1.1", first)
    made = [line(record(first), 0.0)]
    after = parse_repetition(b"GET /3 HTTP/1.1", first)
    made += [line(record(head), 0.0) for head in (before, after)]
    assert [b"one" in each for each in made] == [True, True, True]
    assert b"one" not in line(record(request(b"User-Agent: two")), 0.0)
