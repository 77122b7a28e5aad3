"""Trailer sections of chunked messages."""

import pytest

from proxyworker.protocol.body import ChunkedReader
from proxyworker.protocol.request import parse_request
from proxyworker.protocol.trailers import accepts_trailers, last_chunk, passable, trailer_line


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"Content-Length",
            b"Transfer-Encoding",
            b"Host",
            b"TE",
            b"Trailer",
            b"Connection",
            b"Upgrade",
            b"Keep-Alive",
        ),
        *(b"Authorization", b"Proxy-Authorization", b"Cookie", b"Set-Cookie", b"WWW-Authenticate"),
        *(b"Content-Type", b"Content-Encoding", b"Content-Range", b"Content_Type", b"CONTENT-LENGTH"),
        *(b"Cache-Control", b"Expect", b"Max-Forwards", b"Range", b"If-Match", b"Location", b"Vary", b"Date"),
        *(b"X-Forwarded-For", b"x_forwarded_for", b"X-Forwarded-User", b"Forwarded", b"X-Real-IP", b"X-Request-ID"),
        *(b"Strict-Transport-Security", b"Access-Control-Allow-Origin", b"Origin", b"Sec-WebSocket-Key"),
    ],
)
def test_forbidden_fields_are_dropped(name: bytes) -> None:
    """RFC 9110 section 6.5.1, in any case and in the spelling that CGI tells as the same name."""
    assert passable([name + b": x", b"X-Sum: 1"], {}) == [b"X-Sum: 1"]
    assert trailer_line({b"trailer": [name + b", X-Sum"]}) == b"Trailer: x-sum"


@pytest.mark.parametrize(
    "name", [b"grpc-status", b"grpc-message", b"Server-Timing", b"ETag", b"Content-Digest", b"X_A"]
)
def test_others_are_passed_on_as_they_came(name: bytes) -> None:
    """gRPC's status, timings, digests, and whatever an application agrees on."""
    assert passable([name + b":  1 "], {}) == [name + b":  1 "]


def test_what_connection_names_is_dropped() -> None:
    """RFC 9110 section 7.6.1: any header or trailer field with the name of a connection option."""
    judged = {b"connection": [b"close, X-A", b"x-b"], b"trailer": [b"X-A, X-C", b"x-b"]}
    assert passable([b"X-A: 1", b"x-B: 2", b"X-C: 3"], judged) == [b"X-C: 3"]
    assert trailer_line(judged) == b"Trailer: x-c"


def test_announcement_holds_names_only() -> None:
    """What is no name announces nothing."""
    assert trailer_line({b"trailer": [b"x y, a:b, , X-Sum"]}) == b"Trailer: x-sum"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"TE: trailers\r\n", True),
        (b"TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n", True),
        (b"TE: gzip\r\nTE: trailers\r\n", True),
        (b"TE: gzip\r\n", False),
        (b"TE: trailers;q=0\r\n", False),
        (b"TE: \r\n", False),
        (b"", False),
    ],
)
def test_accepts_trailers(fields: bytes, expected: bool) -> None:
    """RFC 9110 section 10.1.4; never in HTTP/1.0."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
    assert accepts_trailers(parse_request(head)) is expected
    assert not accepts_trailers(parse_request(head.replace(b"1.1", b"1.0")))


def test_last_chunk_is_what_the_reader_reads() -> None:
    """Writing and reading agree, without trailers too."""
    for trailers in ([], [b"A: 1"], [b"A: 1", b"B:"]):
        reader = ChunkedReader()
        assert reader.feed(last_chunk(trailers) + b"GET") == (b"", b"GET")
        assert reader.is_complete
        assert reader.trailers == trailers
