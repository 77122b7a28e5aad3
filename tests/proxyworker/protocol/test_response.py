"""Response heads, from upstreams and towards clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyworker.protocol.body import ChunkedReader, LengthReader, UntilCloseReader
from proxyworker.protocol.response import (
    REASONS,
    BodyExtent,
    MalformedResponse,
    ResponseHead,
    own_response,
    parse_response,
    reader_for,
    response_head,
    switching_head,
)


def parse(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    return parse_response(b"\r\n".join((start, *lines, b"", b"")), method)


@pytest.mark.parametrize(
    ("lines", "method", "status", "extent"),
    [
        ([b"Content-Length: 5"], b"GET", b"200", BodyExtent.LENGTH),
        ([b"Content-Length: 0"], b"GET", b"200", BodyExtent.NONE),
        ([b"Transfer-Encoding: chunked"], b"GET", b"200", BodyExtent.CHUNKED),
        ([], b"GET", b"200", BodyExtent.UNTIL_CLOSE),
        ([b"Content-Length: 5"], b"HEAD", b"200", BodyExtent.NONE),
        ([b"Transfer-Encoding: chunked"], b"HEAD", b"200", BodyExtent.NONE),
        ([b"Content-Length: 5"], b"GET", b"304", BodyExtent.NONE),
        ([], b"GET", b"204", BodyExtent.NONE),
        ([], b"GET", b"100", BodyExtent.NONE),
    ],
)
def test_body_extent(lines: list[bytes], method: bytes, status: bytes, extent: BodyExtent) -> None:
    """RFC 9112 section 6.3, in its order."""
    assert parse(*lines, start=b"HTTP/1.1 " + status + b" x", method=method).extent is extent


@pytest.mark.parametrize(
    ("lines", "version", "expected"),
    [
        ([b"Content-Length: 1"], b"1.1", True),
        ([b"Content-Length: 1", b"Connection: close"], b"1.1", False),
        ([b"Content-Length: 1"], b"1.0", False),
        ([b"Content-Length: 1", b"Connection: Keep-Alive"], b"1.0", True),
        ([b"Transfer-Encoding: chunked", b"Connection: keep-alive"], b"1.0", False),
        ([], b"1.1", False),
    ],
)
def test_is_reusable(lines: list[bytes], version: bytes, expected: bool) -> None:
    """A connection is used again only when both the version and the framing allow it."""
    assert parse(*lines, start=b"HTTP/" + version + b" 200 OK").is_reusable is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"Content-Length: 5", False), (b"Transfer-Encoding: chunked", False), (b"Content-Length: 0", True)],
)
def test_no_content_that_announces_content_ends_its_connection(line: bytes, expected: bool) -> None:
    """What may follow would be taken for the response to the next request."""
    assert parse_response(b"HTTP/1.1 204 No Content\r\n" + line + b"\r\n\r\n", b"GET").is_reusable is expected


def test_hop_by_hop_fields_end_here() -> None:
    """What is meant for our connection, and what Connection names, does not reach the client."""
    response = parse(b"Connection: X-Mine", b"X-Mine: 1", b"Keep-Alive: 5", b"Server: s", b"Content-Length: 0")
    assert response.lines == [b"Server: s"]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 000 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 200 a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    ],
)
def test_malformed_responses_are_refused(data: bytes) -> None:
    """What cannot be understood for certain becomes no answer."""
    with pytest.raises(MalformedResponse):
        parse_response(data, b"GET")


@given(st.binary(max_size=200), st.sampled_from([b"GET", b"HEAD", b"CONNECT"]))
def test_any_bytes_give_a_response_or_a_refusal(data: bytes, method: bytes) -> None:
    """Nothing but MalformedResponse comes out."""
    for start in (b"", b"HTTP/1.1 200 OK\r\n"):
        text = (start + data + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        try:
            response = parse_response(text, method)
        except MalformedResponse:
            continue
        assert response.status >= 100
        assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in response.lines)


def test_reader_for_each_extent() -> None:
    """The reader follows from the extent."""
    assert isinstance(reader_for(parse(b"Content-Length: 5")), LengthReader)
    assert isinstance(reader_for(parse(b"Transfer-Encoding: chunked")), ChunkedReader)
    assert isinstance(reader_for(parse()), UntilCloseReader)
    assert reader_for(parse(b"Content-Length: 0")) is None


def test_head_for_the_client() -> None:
    """The status line is ours, the framing is ours, the fields are the upstream's."""
    response = parse(b"Server: s", b"Content-Length: 5", start=b"HTTP/1.0 200 Fine")
    assert response_head(response, to_http_10=False, is_chunked=False, keep_alive=True) == (
        b"HTTP/1.1 200 Fine\r\nServer: s\r\nContent-Length: 5\r\n\r\n"
    )
    assert response_head(response, to_http_10=True, is_chunked=False, keep_alive=True).endswith(
        b"Connection: keep-alive\r\n\r\n"
    )
    assert response_head(parse(), to_http_10=False, is_chunked=True, keep_alive=False) == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )


def test_no_content_has_no_length() -> None:
    """RFC 9110 section 8.6: no Content-Length in a 204."""
    response = parse(b"Content-Length: 0", start=b"HTTP/1.1 204 No Content")
    assert b"Content-Length" not in response_head(response, to_http_10=False, is_chunked=False, keep_alive=True)


@pytest.mark.parametrize("status", REASONS)
def test_own_responses_are_themselves_valid(status: int) -> None:
    """Each status that the worker answers can be read back, with the request id and nothing else."""
    answer = own_response(status, request_id=b"id-1", keep_alive=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    response = parse_response(head + b"\r\n\r\n", b"GET")
    assert (response.status, response.content_length, response.is_reusable) == (status, len(body), False)
    assert body == b"%d %b\nrequest id: id-1\n" % (status, REASONS[status])
    assert own_response(status, request_id=b"id-1", keep_alive=False, without_body=True) == head + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "start", "expected"),
    [
        ([b"Upgrade: websocket"], b"HTTP/1.1 101 x", True),
        ([b"upgrade: WEBSOCKET"], b"HTTP/1.1 101 x", True),
        ([b"Upgrade: h2c"], b"HTTP/1.1 101 x", False),
        ([b"Upgrade: websocket", b"Upgrade: h2c"], b"HTTP/1.1 101 x", False),
        ([b"Upgrade: websocket"], b"HTTP/1.0 101 x", False),
        ([b"Upgrade: websocket"], b"HTTP/1.1 200 x", False),
    ],
)
def test_switch_to_a_websocket(lines: list[bytes], start: bytes, expected: bool) -> None:
    """RFC 9110 section 7.8: a 101 that says so itself."""
    assert parse(*lines, b"Connection: Upgrade", start=start).is_websocket is expected


@pytest.mark.parametrize("line", [b"A: 1", b"Upgrade: websocket", b"Connection: Upgrade"])
def test_101_without_the_fields_of_an_upgrade_is_malformed(line: bytes) -> None:
    """RFC 6455 section 4.1: a client fails the connection when either of them is missing."""
    with pytest.raises(MalformedResponse, match="malformed response head"):
        parse(line, start=b"HTTP/1.1 101 Switching Protocols")


def test_switching_head_has_no_framing() -> None:
    """RFC 9110 section 8.6: no Content-Length in a 1xx; the upgrade's own fields are written anew."""
    lines = [b"Upgrade: WebSocket", b"A: 1", b"Connection: Upgrade", b"Content-Length: 5", b"Keep-Alive: 5"]
    assert switching_head(parse(*lines, start=b"HTTP/1.1 101 Switching Protocols")) == (
        b"HTTP/1.1 101 Switching Protocols\r\nA: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
