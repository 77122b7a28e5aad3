"""From the record of a request to its line: JSON, or the combined format of Apache and nginx. Of an error: JSON.

Laws of this module: pure. What a client sent cannot end a line, leave its place in it, or make it longer than
MAX_LINE_BYTES: a pipe takes that much at once (PIPE_BUF in pipe(7)), so lines of several processes do not mix.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from proxyworker.net.telemetry import FailedAttempt, Record
from proxyworker.protocol.request import RequestHead

MAX_LINE_BYTES = 4096

# Of a value that was sent, this much is shown at most, escaped as it stands in the line.
MAX_TARGET_BYTES = 1280
MAX_REFERER_BYTES = 768
MAX_USER_AGENT_BYTES = 512
MAX_NAME_BYTES = 192
MAX_REASON_BYTES = 1024

# json.dumps makes at most six bytes of one (\u001f), the combined format four (\x1f).
_GROWTH = 6

Form = Literal["json", "combined"]
Line = Callable[[Record, float], bytes]

# Printable ASCII but the quotation mark and the backslash stands for itself in both formats.
_is_plain = re.compile(rb"[ !#-\[\]-~]*").fullmatch


def line_maker(form: Form) -> Line:
    """What makes a line, with its end, of a record. Its second argument is added to the record's times: Unix time."""
    return _json_line if form == "json" else _combined_line


def failure_line(attempt: FailedAttempt, epoch_s: float) -> bytes:
    """The line of a failed attempt at an upstream, with its end. `epoch_s` as in `line_maker`."""
    at_s, host, upstream, phase, code, reason, request_id = attempt
    shown_reason = _json(reason.encode(errors="backslashreplace"), MAX_REASON_BYTES)
    return (
        f'{{"time":"{_iso_time(int((at_s + epoch_s) * 1000))}","host":{_json_name(host)},'
        f'"request_id":{_json(request_id, MAX_NAME_BYTES)},"upstream":{_json_name(upstream)},'
        f'"phase":{_json_name(phase)},"code":{_json_name(code)},"reason":{shown_reason}}}\n'
    ).encode("ascii")


def _json_line(record: Record, epoch_s: float) -> bytes:
    (
        ended_s,
        started_s,
        bytes_received,
        bytes_sent,
        status,
        host,
        client_address,
        is_https,
        request_id,
        request,
        target,
        attempts,
        failure_code,
        upstream_status,
        opened_in_s,
    ) = record
    upstream = _NO_UPSTREAM
    if target is not None:
        upstream = _json_upstream(target.label, attempts, failure_code, upstream_status, opened_in_s)
    return (
        f'{{"time":"{_iso_time(int((ended_s + epoch_s) * 1000))}","host":{_json_name(host)},'
        f'"client":{_json_name(client_address)},"scheme":"{"https" if is_https else "http"}","status":{status},'
        f'"bytes_received":{bytes_received},"bytes_sent":{bytes_sent},'
        f'"duration_ms":{int((ended_s - started_s) * 1000)},{_json_request(request_id, request)},{upstream}}}\n'
    ).encode("ascii")


def _json_request(request_id: bytes, request: RequestHead | None) -> str:
    if request is None:
        identity = _json(request_id, MAX_NAME_BYTES)
        return f'"request_id":{identity},"method":null,"target":null,"protocol":null,"referer":null,"user_agent":null'
    if not request.logged_fields:
        request.logged_fields = _json_fields(request)
    return (
        f'"request_id":{_json(request_id, MAX_NAME_BYTES)},"method":"{request.method.decode()}",'
        f'"target":{_json(request.target, MAX_TARGET_BYTES)},'
        f'"protocol":"{"HTTP/1.0" if request.is_http_10 else "HTTP/1.1"}",{request.logged_fields}'
    )


# The fields of a request are the same in each that repeats its section: these two are asked once for all of them.


def _json_fields(request: RequestHead) -> str:
    referer, user_agent = _named_fields(request)
    shown_referer = _json(referer, MAX_REFERER_BYTES) if referer else "null"
    shown_user_agent = _json(user_agent, MAX_USER_AGENT_BYTES) if user_agent else "null"
    return f'"referer":{shown_referer},"user_agent":{shown_user_agent}'


_NO_UPSTREAM = (
    '"upstream":null,"upstream_status":null,"attempts":0,"upstream_failure":null,'
    '"upstream_connect_ms":null,"upstream_tls_ms":null'
)


# Few different ones come again and again, but for connections that were just opened.
@lru_cache(maxsize=1024)
def _json_upstream(
    label: str, attempts: int, failure_code: str, status: int, opened_in_s: tuple[float, float | None] | None
) -> str:
    connect_s, tls_s = opened_in_s or (None, None)
    return (
        f'"upstream":{_json_name(label)},"upstream_status":{status or "null"},"attempts":{attempts},'
        f'"upstream_failure":{_json_name(failure_code)},"upstream_connect_ms":{_json_ms(connect_s)},'
        f'"upstream_tls_ms":{_json_ms(tls_s)}'
    )


def _json_ms(seconds: float | None) -> str:
    return "null" if seconds is None else str(int(seconds * 1000))


def _combined_line(record: Record, epoch_s: float) -> bytes:
    """Apache's LogFormat `%h - - %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"`."""
    ended_s, _, _, bytes_sent, status, _, client_address, _ = record[:8]
    what, fields = "-", '"-" "-"'
    request = record[9]
    if request is not None:
        if not request.logged_fields:
            request.logged_fields = _combined_fields(request)
        target = _escaped(request.target, MAX_TARGET_BYTES)
        what = f"{request.method.decode()} {target} {'HTTP/1.0' if request.is_http_10 else 'HTTP/1.1'}"
        fields = request.logged_fields
    return (
        f'{_word(client_address)} - - [{_clf_second(int(ended_s + epoch_s))}] "{what}" {status} {bytes_sent} {fields}\n'
    ).encode("ascii")


def _combined_fields(request: RequestHead) -> str:
    referer, user_agent = _named_fields(request)
    shown_referer = _escaped(referer, MAX_REFERER_BYTES) or "-"
    shown_user_agent = _escaped(user_agent, MAX_USER_AGENT_BYTES) or "-"
    return f'"{shown_referer}" "{shown_user_agent}"'


def _named_fields(request: RequestHead) -> tuple[bytes, bytes]:
    """The values of Referer and User-Agent, or nothing."""
    referer = user_agent = b""
    for line in request.lines:
        # Most lines end here: this runs for every field of every request.
        if line[0] in b"uUrR":
            name, _, value = line.partition(b":")
            name = name.lower()
            if name == b"user-agent":
                user_agent = value.strip()
            elif name == b"referer":
                referer = value.strip()
    return referer, user_agent


def _json(value: bytes, limit: int) -> str:
    """A JSON string. Bytes that are not UTF-8 are shown as `\\xff`."""
    if len(value) <= limit and _is_plain(value):
        return f'"{value.decode("ascii")}"'
    return _within(value, limit, _json_escaped)


def _json_escaped(value: bytes) -> str:
    shown = json.dumps(value.decode("utf-8", "backslashreplace"))
    return shown.replace("\x7f", "\\u007f")  # DEL is the one control character that JSON permits


def _escaped(value: bytes, limit: int) -> str:
    """For between quotation marks, as nginx's `log_format` does it by default."""
    if len(value) <= limit and _is_plain(value):
        return value.decode("ascii")
    return _within(value, limit, _hex_escaped)


def _hex_escaped(value: bytes) -> str:
    return "".join(chr(byte) if _is_plain(b"%c" % byte) else f"\\x{byte:02X}" for byte in value)


def _within(value: bytes, limit: int, escape: Callable[[bytes], str]) -> str:
    """The escaped value, cut where it would be longer than `limit`, but never in the midst of an escape."""
    shown = escape(value[:limit])
    return shown if len(shown) <= limit + 2 else escape(value[: limit // _GROWTH])


# Few different ones come again and again: hosts, clients, upstreams, codes.
@lru_cache(maxsize=4096)
def _json_name(text: str) -> str:
    return _json(text.encode(errors="backslashreplace"), MAX_NAME_BYTES) if text else "null"


@lru_cache(maxsize=4096)
def _word(text: str) -> str:
    return _escaped(text.encode(errors="backslashreplace").replace(b" ", b"_"), MAX_NAME_BYTES) or "-"


# Under load many requests end in one millisecond.
@lru_cache(maxsize=16)
def _iso_time(unix_ms: int) -> str:
    second, milliseconds = divmod(unix_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


# The names that strftime gives follow the locale; the log must not.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=16)
def _clf_second(second: int) -> str:
    at = datetime.fromtimestamp(second, UTC)
    return at.strftime(f"%d/{_MONTHS[at.month - 1]}/%Y:%H:%M:%S +0000")
