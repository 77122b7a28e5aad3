"""Request heads: what a checked head says. What is refused stands in tests/corpora/http1/invalid."""

from collections.abc import Callable

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from proxyworker.errors import DownstreamProtocolError
from proxyworker.protocol.request import MAX_TARGET_BYTES, RequestHead, parse_repetition, parse_request

HOST = b"Host: app.test\r\n"


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    """A head with a good Host."""
    return b"\r\n".join((start, HOST[:-2], *lines, b"", b""))


def refusal(data: bytes) -> tuple[int, str]:
    """Status and reason of the refusal of `data`."""
    with pytest.raises(DownstreamProtocolError) as caught:
        parse_request(data)
    return caught.value.status, caught.value.reason


def test_plain_request() -> None:
    """Method, target and fields come out as sent; Host is judged, not passed on."""
    request = parse_request(head(b"Accept: */*", b"X-A:1 ", start=b"GET /a?b=c HTTP/1.1"))
    assert (request.method, request.target, request.host) == (b"GET", b"/a?b=c", b"app.test")
    assert request.lines == [b"Accept: */*", b"X-A:1 "]
    assert request.keep_alive
    assert not request.has_body


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", None, True),
        (b"1.1", b"close", False),
        (b"1.1", b"x-a, CLOSE", False),
        (b"1.0", None, False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_keep_alive(version: bytes, connection: bytes | None, expected: bool) -> None:
    """HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 the other way round."""
    lines = [] if connection is None else [b"Connection: " + connection]
    assert parse_request(head(*lines, start=b"GET / HTTP/" + version)).keep_alive is expected


def test_framing_in_the_spelling_of_cgi_goes_no_further() -> None:
    """An upstream that takes `Content_Length` for Content-Length would see another end of the body than this proxy."""
    request = parse_request(head(b"Content_Length: 5", b"TRANSFER_ENCODING: chunked", b"X_A: 1"))
    assert request.lines == [b"X_A: 1"]
    assert not request.has_body


def test_fields_that_connection_names_are_removed() -> None:
    """All Connection fields count, in any case (RFC 9110 section 7.6.1)."""
    request = parse_request(
        head(b"Connection: X-A", b"x-a: 1", b"Keep-Alive: 5", b"connection: x-b", b"X-B: 2", b"C: 3")
    )
    assert request.lines == [b"C: 3"]


@pytest.mark.parametrize("name", [b"Host", b"content-length"])
def test_connection_may_not_name_what_frames_or_routes(name: bytes) -> None:
    """Dropping such a field would change the message for the next hop only."""
    status, reason = refusal(head(b"Connection: " + name))
    assert (status, reason) == (400, "Connection names a field that frames or routes the message")


@pytest.mark.parametrize(
    "name",
    [b"X-Forwarded-For", b"X_Forwarded_For", b"x-forwarded_for", b"X-Real_IP", b"X_Request_ID", b"Forwarded"],
)
def test_forwarding_fields_of_a_client_are_not_passed_on(name: bytes) -> None:
    """Neither spelling gets through: WSGI and CGI servers read dashes and underscores alike."""
    assert parse_request(head(name + b": evil", b"X-Other: 1")).lines == [b"X-Other: 1"]


def test_body_by_length_and_by_chunks() -> None:
    """Exactly one way to tell where the body ends."""
    request = parse_request(head(b"Content-Length: 12", start=b"POST / HTTP/1.1"))
    assert (request.content_length, request.is_chunked, request.has_body) == (12, False, True)
    request = parse_request(head(b"Transfer-Encoding: Chunked", start=b"POST / HTTP/1.1"))
    assert (request.content_length, request.is_chunked, request.has_body) == (None, True, True)
    assert not parse_request(head(b"Content-Length: 0", start=b"POST / HTTP/1.1")).has_body


@pytest.mark.parametrize(
    ("target", "host", "reduced"),
    [
        (b"http://other.test/x?y", b"other.test", b"/x?y"),
        (b"HTTPS://other.test:8443", b"other.test:8443", b"/"),
        (b"http://other.test?q=1", b"other.test", b"/?q=1"),
        (b"http://[::1]:80/", b"[::1]:80", b"/"),
    ],
)
def test_absolute_form_replaces_host(target: bytes, host: bytes, reduced: bytes) -> None:
    """RFC 9112 section 3.2.2: the authority in the target counts, the Host field does not."""
    request = parse_request(head(start=b"GET " + target + b" HTTP/1.1"))
    assert (request.host, request.target) == (host, reduced)


def test_asterisk_form() -> None:
    """OPTIONS about the server itself, also by a URL without a path (RFC 9112 section 3.2.4)."""
    assert parse_request(head(start=b"OPTIONS * HTTP/1.1")).target == b"*"
    assert parse_request(head(start=b"OPTIONS http://app.test HTTP/1.1")).target == b"*"
    assert parse_request(head(start=b"OPTIONS http://app.test/ HTTP/1.1")).target == b"/"


def test_expectation_is_kept_only_when_a_body_follows() -> None:
    """Without a body, and from HTTP/1.0, there is nothing to wait for."""
    expect = b"Expect: 100-Continue"
    assert parse_request(head(expect, b"Content-Length: 1", start=b"POST / HTTP/1.1")).expects_continue
    assert not parse_request(head(expect)).expects_continue
    assert not parse_request(head(expect, b"Content-Length: 1", start=b"POST / HTTP/1.0")).expects_continue


def test_host_may_be_missing_in_http_10() -> None:
    """HTTP/1.0 has no Host field."""
    assert parse_request(b"GET / HTTP/1.0\r\n\r\n").host == b""


@pytest.mark.parametrize("host", [b"a", b"a.b:80", b"a_b", b"[::1]", b"[2001:db8::1]:8443", b"1.2.3.4", b"a:"])
def test_valid_hosts(host: bytes) -> None:
    """What RFC 3986 calls host and port."""
    assert parse_request(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").host == host


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a b",
        b"a,b",
        b"u@a",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a:b",
        b"a:80:90",
        b"a:123456",
        b"[::1",
        b"::1",
        b'"',
        b"\xff",
        b"h" * 256,
    ],
)
def test_invalid_hosts(host: bytes) -> None:
    """Whatever could be read as another host by the next hop is refused."""
    assert refusal(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == (400, "Host is invalid")


def test_fragment_is_refused() -> None:
    """A path that one server cuts off at '#' and another does not is a way past a rule."""
    assert refusal(head(start=b"GET /a#b HTTP/1.1"))[0] == 400
    assert refusal(head(start=b"GET http://a/x#b HTTP/1.1"))[0] == 400


@pytest.mark.parametrize("target", [b"app.test:443", b"/"])
def test_connect_is_refused(target: bytes) -> None:
    """In any form: an upstream's 2xx to CONNECT would begin a tunnel."""
    assert refusal(head(start=b"CONNECT " + target + b" HTTP/1.1")) == (501, "CONNECT is not for a reverse proxy")


def test_limits() -> None:
    """As many fields and as long a target as allowed pass, one more does not."""
    assert len(parse_request(head(*[b"a: b"] * 99)).lines) == 99
    assert refusal(head(*[b"a: b"] * 100)) == (431, "more than 100 fields")
    longest = b"/" + b"a" * (MAX_TARGET_BYTES - 1)
    assert parse_request(head(start=b"GET " + longest + b" HTTP/1.1")).target == longest
    assert refusal(head(start=b"GET " + longest + b"a HTTP/1.1"))[0] == 414


_FRAGMENTS = st.sampled_from(
    [
        b"GET",
        b"POST",
        b" ",
        b"/",
        b"*",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b":",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"http://",
        b"[",
        b"#",
        b",",
        b"\xff",
        b"Upgrade: x\r\n",
        b"CONNECT",
        b"PRI * HTTP/2.0\r\n",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(_FRAGMENTS, max_size=20).map(b"".join)))
@example(b"\r\n\r\n")
@example(b"GET /\r\n\r\n")
def test_any_bytes_give_a_request_or_a_refusal(data: bytes) -> None:
    """Nothing but DownstreamProtocolError comes out, and what passes has exactly one framing."""
    data = (data + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        request = parse_request(data)
    except DownstreamProtocolError as refused:
        event(f"refused with {refused.status}")
        return
    assert not (request.is_chunked and request.content_length is not None)
    assert request.target == b"*" or request.target.startswith(b"/")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in request.lines)


UPGRADE = (b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")


@pytest.mark.parametrize(
    ("lines", "start", "expected"),
    [
        (UPGRADE, b"GET / HTTP/1.1", True),
        ((*UPGRADE, b"Content-Length: 0"), b"GET / HTTP/1.1", True),
        ((*UPGRADE, b"Content-Length: 1"), b"GET / HTTP/1.1", False),
        ((*UPGRADE, b"Transfer-Encoding: chunked"), b"GET / HTTP/1.1", False),
        ((*UPGRADE, b"Upgrade: h2c"), b"GET / HTTP/1.1", False),
        (UPGRADE[:1], b"GET / HTTP/1.1", False),
        (UPGRADE[1:], b"GET / HTTP/1.1", False),
        ((b"Connection: close", UPGRADE[1]), b"GET / HTTP/1.1", False),
        ((UPGRADE[0], b"Upgrade: h2c"), b"GET / HTTP/1.1", False),
        ((UPGRADE[0], b"Upgrade: websocket, h2c"), b"GET / HTTP/1.1", False),
        ((UPGRADE[0], b"Upgrade: websocket/13"), b"GET / HTTP/1.1", False),
        ((UPGRADE[0], b"Upgrade:"), b"GET / HTTP/1.1", False),
        (UPGRADE, b"GET / HTTP/1.0", False),
        (UPGRADE, b"POST / HTTP/1.1", False),
        (UPGRADE, b"HEAD / HTTP/1.1", False),
    ],
)
def test_wish_for_a_websocket(lines: tuple[bytes, ...], start: bytes, expected: bool) -> None:
    """RFC 6455 section 4.1, and nothing but `websocket`; the fields themselves go no further."""
    request = parse_request(head(*lines, start=start))
    assert request.wants_websocket is expected
    assert request.lines == []


SECTIONS = [
    b"Host: app.test\r\n\r\n",
    b"Host: app.test\r\nConnection: close, X-A\r\nX-A: 1\r\nCookie: a=b\r\n\r\n",
    b"Host: app.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    b"Host: app.test\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"Host: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
]
LINES = [
    b"GET / HTTP/1.1",
    b"GET /other?x=1 HTTP/1.1",
    b"POST /other HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET http://other.test/ HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT app.test:443 HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET /a\0b HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET / HTTP/1.2",
    b"GET / HTTP/2.0",
    b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1",
    b"get / HTTP/1.1",
    b"NONSENSE / HTTP/1.1",
]


def outcome(parse: Callable[[], RequestHead]) -> object:
    """All that a request says, or why it is refused."""
    try:
        request = parse()
    except DownstreamProtocolError as error:
        return error.status, error.reason
    return [getattr(request, name) for name in dir(request) if not name.startswith("_")]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("former_line", LINES[:6])
@pytest.mark.parametrize("section", SECTIONS)
def test_a_repeated_section_means_the_same(section: bytes, former_line: bytes, line: bytes) -> None:
    """What follows a request with the same field section is judged as if it were the first."""
    try:
        former = parse_request(former_line + b"\r\n" + section)
    except DownstreamProtocolError:
        return

    def repeated() -> RequestHead:
        again = parse_repetition(line, former)
        return parse_request(line + b"\r\n" + section) if again is None else again

    assert outcome(repeated) == outcome(lambda: parse_request(line + b"\r\n" + section))


def test_a_plain_repetition_is_not_parsed_again() -> None:
    """It shares the lines of the former request."""
    former = parse_request(head(b"Accept: */*"))
    again = parse_repetition(b"GET /next HTTP/1.1", former)
    assert again is not None
    assert again.target == b"/next"
    assert again.lines is former.lines
    assert parse_repetition(b"GET /last HTTP/1.1", again) is not None
