"""HTTP/1.1 request heads: from the bytes of one head to a checked `RequestHead` (RFC 9112 sections 2, 3 and 6).

Laws of this module:
- llhttp judges the syntax in its strict mode: CRLF only, no obs-fold, no NUL, no space before a colon. Only what it
  accepted is cut into lines, and the framing gate runs on those. What either refuses is answered with a status and the
  connection closes: no byte of it reaches an upstream.
- A head is complete when it gets here (up to and including the empty line); finding its end is the connection's job.
- A body's extent is decided here, once, for everything that follows.
"""

import re
from itertools import product

import httptools

from proxyworker.errors import DownstreamProtocolError
from proxyworker.protocol.fields import (
    HOP_BY_HOP,
    MAX_FIELDS,
    WEBSOCKET,
    Judged,
    connection_options,
    content_length,
    list_members,
    set_apart,
    without,
)

MAX_TARGET_BYTES = 8192


def _spellings(name: bytes) -> list[bytes]:
    """The name with each of its dashes also as an underscore: CGI and WSGI tell an upstream both as the same name."""
    first, *others = name.split(b"-")
    marks = product((b"-", b"_"), repeat=len(others))
    return [first + b"".join(mark + part for mark, part in zip(chosen, others, strict=True)) for chosen in marks]


# Statements about the client's way here. A client can say anything: policy/forwarding.py decides what is passed on.
FORWARDING = frozenset(
    spelling
    for name in (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    )
    for spelling in _spellings(name)
)
# They frame nothing here, but do for upstreams that take both spellings for one name, so they go no further.
_MISSPELT_FRAMING = frozenset((b"content_length", b"transfer_encoding"))
_JUDGED = HOP_BY_HOP | FORWARDING | _MISSPELT_FRAMING | {b"host", b"content-length", b"expect"}

# RFC 9110 section 9.2.2.
IDEMPOTENT_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

# RFC 3986 section 3.2, less what was used to route past a gate: user information, a list, an empty host.
is_authority = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+;=-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?").fullmatch


class RequestHead:
    """One request as its client sent it.

    `target` is what goes to the upstream: origin-form or `*`. `host` is the authority the client asked for, as sent.
    `content_length` is None without that field; `is_chunked` and a content length exclude each other; `has_body`:
    body bytes follow the head. `wants_websocket`: the connection is to become a WebSocket, if host and upstream agree.
    `lines` are the field lines to pass on; `judged` holds the values of those that are not, by lower-case name.
    `logged_fields` is for what an access log makes of them, so that it need not be made again for a repeated section.
    """

    __slots__ = (
        "content_length",
        "expects_continue",
        "has_body",
        "host",
        "is_chunked",
        "is_http_10",
        "judged",
        "keep_alive",
        "lines",
        "logged_fields",
        "method",
        "target",
        "wants_websocket",
    )

    def __init__(self, method: bytes, target: bytes, lines: list[bytes], judged: Judged, *, is_http_10: bool) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.judged = judged
        self.is_http_10 = is_http_10
        self.host = b""
        self.keep_alive = not is_http_10
        self.content_length: int | None = None
        self.is_chunked = False
        self.has_body = False
        self.expects_continue = False
        self.wants_websocket = False
        self.logged_fields = ""


def parse_request(head: bytes) -> RequestHead:
    """The request that `head` begins. Raises DownstreamProtocolError."""
    _judge_syntax(head)
    lines = head.split(b"\r\n")
    if len(lines) > MAX_FIELDS + 3:
        raise DownstreamProtocolError(431, f"more than {MAX_FIELDS} fields")
    method, target, version = _request_line(lines[0])
    kept, judged = set_apart(lines[1:-2], _JUDGED)
    request = RequestHead(method, target, kept, judged, is_http_10=version == b"HTTP/1.0")
    _judge_host(request)
    if target[:1] != b"/" or method == b"CONNECT":
        _judge_target(request)
    if b"connection" in judged:
        _judge_connection(request)
    if b"content-length" in judged or b"transfer-encoding" in judged:
        _judge_framing(request)
    if b"expect" in judged:
        _judge_expectation(request)
    if b"upgrade" in judged:
        _judge_upgrade(request)
    return request


def parse_repetition(line: bytes, former: RequestHead) -> RequestHead | None:
    """The request that `line` begins, when the same field section follows it as in `former`.

    None: parse the head as a whole, for what the section means may depend on one of the two lines, or something about
    this one is to be refused. Raises DownstreamProtocolError.
    """
    parts = line.split(b" ")
    if (
        len(parts) != 3
        or parts[0] != former.method
        or parts[1][:1] != b"/"
        or parts[2] != b"HTTP/1.1"
        or len(line) > MAX_TARGET_BYTES
        or b"#" in line
        or former.is_http_10
        or former.host is not former.judged[b"host"][0]  # an absolute-form target replaced it
    ):
        return None
    _judge_syntax(line + b"\r\n\r\n")
    request = RequestHead(parts[0], parts[1], former.lines, former.judged, is_http_10=False)
    request.host = former.host
    request.keep_alive = former.keep_alive
    request.content_length = former.content_length
    request.is_chunked = former.is_chunked
    request.has_body = former.has_body
    request.expects_continue = former.expects_continue
    request.wants_websocket = former.wants_websocket
    request.logged_fields = former.logged_fields
    return request


def _judge_syntax(head: bytes) -> None:
    """llhttp's verdict."""
    parser = httptools.HttpRequestParser(None)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the head is complete and asks to change the protocol
    except httptools.HttpParserInvalidMethodError as error:
        raise DownstreamProtocolError(501, "unknown method") from error
    except httptools.HttpParserError as error:
        raise DownstreamProtocolError(400, "malformed request head") from error


def _request_line(line: bytes) -> list[bytes]:
    """RFC 9112 section 3: method SP request-target SP HTTP-version, with exactly one space each."""
    # llhttp skips what of an empty line stands before the method (RFC 9112 section 2.2). Here it would become a part of
    # it: a HEAD that is none to this proxy, but one to its upstream, and the end of a line in the access log.
    if line[:1] in (b"\r", b"\n"):
        raise DownstreamProtocolError(400, "half an empty line before the request line")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise DownstreamProtocolError(400, "malformed request line")
    # RFC 9112 section 3.2: no form of the target has a fragment; what one peer cuts off the next may serve.
    if b"#" in parts[1]:
        raise DownstreamProtocolError(400, "request target holds a fragment")
    if len(parts[1]) > MAX_TARGET_BYTES:
        raise DownstreamProtocolError(414, f"request target over {MAX_TARGET_BYTES} bytes")
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise DownstreamProtocolError(505, "HTTP version is neither 1.1 nor 1.0")
    return parts


def _judge_host(request: RequestHead) -> None:
    """RFC 9112 section 3.2: a server MUST respond with 400 to any HTTP/1.1 request that lacks a Host header field and
    to any request that contains more than one Host header field line or an invalid one."""
    hosts = request.judged.get(b"host")
    if hosts is None:
        if not request.is_http_10:
            raise DownstreamProtocolError(400, "Host is missing")
        return
    if len(hosts) > 1:
        raise DownstreamProtocolError(400, "Host is repeated")
    request.host = hosts[0]
    if is_authority(request.host) is None:
        raise DownstreamProtocolError(400, "Host is invalid")


def _judge_target(request: RequestHead) -> None:
    """RFC 9112 section 3.2: absolute-form is reduced to origin-form, asterisk-form is for OPTIONS only."""
    target = request.target
    if target == b"*" and request.method == b"OPTIONS":
        return
    if request.method == b"CONNECT":
        raise DownstreamProtocolError(501, "CONNECT is not for a reverse proxy")
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise DownstreamProtocolError(400, "request target is neither a path nor an http URL")
    end = next((index for index, byte in enumerate(rest) if byte in b"/?"), len(rest))
    authority, path = rest[:end], rest[end:]
    if is_authority(authority) is None:
        raise DownstreamProtocolError(400, "request target has no valid authority")
    # RFC 9112 section 3.2.2: the authority of an absolute-form target replaces the Host field.
    request.host = authority
    if not path and request.method == b"OPTIONS":
        request.target = b"*"  # RFC 9112 section 3.2.4
    else:
        request.target = path if path[:1] == b"/" else b"/" + path


def _judge_connection(request: RequestHead) -> None:
    """RFC 9110 section 7.6.1: fields that Connection names are for this connection only and are removed."""
    options, named = connection_options(request.judged[b"connection"])
    if b"close" in options:
        request.keep_alive = False
    elif request.is_http_10 and b"keep-alive" in options:
        request.keep_alive = True
    if named:
        if named & {b"host", b"content-length"}:
            raise DownstreamProtocolError(400, "Connection names a field that frames or routes the message")
        request.lines = without(request.lines, named)


def _judge_framing(request: RequestHead) -> None:
    """RFC 9112 section 6: exactly one way to tell where the body ends, or the request is refused."""
    lengths = request.judged.get(b"content-length")
    codings = request.judged.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            raise DownstreamProtocolError(400, "Content-Length with Transfer-Encoding")
        if request.is_http_10:
            raise DownstreamProtocolError(400, "Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise DownstreamProtocolError(400, "transfer coding other than chunked")
        request.is_chunked = request.has_body = True
    elif lengths is not None:
        request.content_length = content_length(lengths)
        if request.content_length is None:
            raise DownstreamProtocolError(400, "invalid Content-Length")
        request.has_body = request.content_length > 0


def _judge_expectation(request: RequestHead) -> None:
    """RFC 9110 section 10.1.1: only 100-continue is defined; a client may wait for it before it sends the body."""
    expectations = list_members(request.judged[b"expect"])
    if not expectations:
        return
    if expectations != [b"100-continue"]:
        raise DownstreamProtocolError(417, "unknown expectation")
    request.expects_continue = not request.is_http_10 and request.has_body


def _judge_upgrade(request: RequestHead) -> None:
    """RFC 6455 section 4.1: GET, HTTP/1.1, `websocket` in Upgrade and `upgrade` in Connection; and no body, behind
    which two parsers could see the tunnel begin at different places. Anything else is an ordinary request."""
    request.wants_websocket = (
        request.method == b"GET"
        and not request.is_http_10
        and not request.has_body
        and list_members(request.judged[b"upgrade"]) == [WEBSOCKET]
        and b"upgrade" in list_members(request.judged.get(b"connection", ()))
    )
