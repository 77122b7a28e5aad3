"""HTTP/1.1 response heads, from the upstream and towards the client (RFC 9112 sections 4 and 6).

Laws of this module: as in `request`, llhttp judges the syntax and only accepted lines are cut. A response whose end
cannot be told for certain is refused: the client gets 502 instead of somebody else's bytes.
"""

from enum import Enum, auto

import httptools

from proxyworker.protocol.body import BodyReader, ChunkedReader, LengthReader, UntilCloseReader
from proxyworker.protocol.fields import (
    HOP_BY_HOP,
    MAX_FIELDS,
    UPGRADE_LINES,
    WEBSOCKET,
    Judged,
    connection_options,
    content_length,
    list_members,
    set_apart,
    without,
)

_JUDGED = HOP_BY_HOP | {b"content-length"}
_NOTHING: frozenset[bytes] = frozenset()


class MalformedResponse(Exception):
    """The upstream's answer is not HTTP/1.1 as this proxy understands it. The text is for operators."""


class BodyExtent(Enum):
    """How a response's body ends (RFC 9112 section 6.3)."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


# Looking a member up on its class takes as long as a call in Python 3.11; these are needed for every response.
_NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE = BodyExtent


class ResponseHead:
    """One response as the upstream sent it.

    `start` is the status line without its HTTP version, `lines` the field lines to pass on, `judged` the values of
    those that are not, by lower-case name. `content_length` is what
    the upstream said, also where no body follows (HEAD, 304). `is_open_ended`: `extent` gives no length.
    `is_reusable`: the connection stays open afterwards. `is_websocket`: behind this head, a 101, the connection is a
    WebSocket.
    """

    __slots__ = (
        "content_length",
        "extent",
        "is_open_ended",
        "is_reusable",
        "is_websocket",
        "judged",
        "lines",
        "start",
        "status",
    )

    def __init__(self, status: int, start: bytes, lines: list[bytes], judged: Judged) -> None:
        self.status = status
        self.start = start
        self.lines = lines
        self.judged = judged
        self.content_length: int | None = None
        self.extent = _UNTIL_CLOSE
        self.is_open_ended = False
        self.is_reusable = True
        self.is_websocket = False


def parse_response(head: bytes, request_method: bytes) -> ResponseHead:
    """The response that `head` begins, an answer to a request with `request_method`. Raises MalformedResponse."""
    parser = httptools.HttpResponseParser(None)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # a 101 with both fields of an upgrade: whether it was asked for, the caller knows
    except httptools.HttpParserError as error:
        raise MalformedResponse("malformed response head") from error
    lines = head.split(b"\r\n")
    if len(lines) > MAX_FIELDS + 3:
        raise MalformedResponse(f"response with more than {MAX_FIELDS} fields")
    version, _, start = lines[0].partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise MalformedResponse("response is neither HTTP/1.1 nor HTTP/1.0")
    status = parser.get_status_code()
    if status < 100 or b"\0" in start:
        raise MalformedResponse("malformed status line")
    kept, judged = set_apart(lines[1:-2], _JUDGED)
    response = ResponseHead(status, start, kept, judged)
    options, named = connection_options(judged[b"connection"]) if b"connection" in judged else (_NOTHING, _NOTHING)
    if b"close" in options:
        response.is_reusable = False
    elif version == b"HTTP/1.0":
        # RFC 9112 section 6.1: a transfer coding in HTTP/1.0 counts as faulty framing.
        response.is_reusable = b"keep-alive" in options and b"transfer-encoding" not in judged
    if named:
        response.lines = without(kept, named)
    if status == 101:
        # RFC 9110 section 7.8: a 101 MUST tell in Upgrade which protocol was switched to.
        response.is_websocket = version == b"HTTP/1.1" and list_members(judged.get(b"upgrade", ())) == [WEBSOCKET]
    _judge_extent(response, request_method, judged.get(b"content-length"), judged.get(b"transfer-encoding"))
    return response


def _judge_extent(
    response: ResponseHead, request_method: bytes, lengths: list[bytes] | None, codings: list[bytes] | None
) -> None:
    if lengths is not None:
        if codings is not None:
            raise MalformedResponse("response with Content-Length and Transfer-Encoding")
        response.content_length = content_length(lengths)
        if response.content_length is None:
            raise MalformedResponse("response with an invalid Content-Length")
    if request_method == b"HEAD" or response.status < 200 or response.status in (204, 304):
        response.extent = _NONE
        if response.status == 204 and (codings is not None or response.content_length):
            # RFC 9112 section 6: it has no body. If one comes all the same, it must not be the next one's response.
            response.is_reusable = False
    elif codings is not None:
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise MalformedResponse("response with a transfer coding other than chunked")
        response.extent = _CHUNKED
        response.is_open_ended = True
    elif response.content_length is not None:
        response.extent = _LENGTH if response.content_length else _NONE
    else:
        response.is_open_ended = True
        response.is_reusable = False


def reader_for(response: ResponseHead) -> BodyReader | None:
    """What reads the body of `response`; None when it has none."""
    extent = response.extent
    if extent is _LENGTH:
        return LengthReader(response.content_length or 0)
    if extent is _NONE:
        return None
    return ChunkedReader() if extent is _CHUNKED else UntilCloseReader()


def response_head(response: ResponseHead, *, to_http_10: bool, is_chunked: bool, keep_alive: bool) -> bytes:
    """The head that the client gets. `is_chunked`: the body goes out chunked, whatever the upstream did."""
    lines = [b"HTTP/1.1 " + response.start, *response.lines]
    if response.content_length is not None and response.status != 204 and response.status >= 200:
        lines.append(b"Content-Length: %d" % response.content_length)
    if is_chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    elif to_http_10:
        lines.append(b"Connection: keep-alive")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def switching_head(response: ResponseHead) -> bytes:
    """The 101 that the client gets, with the fields that belong to a WebSocket and no others that are hop-by-hop."""
    return b"\r\n".join((b"HTTP/1.1 " + response.start, *response.lines, *UPGRADE_LINES, b"\r\n"))


# What the worker itself may have to answer (RFC 9110 section 15).
REASONS = {
    308: b"Permanent Redirect",
    400: b"Bad Request",
    404: b"Not Found",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def own_response(
    status: int, *, request_id: bytes, keep_alive: bool, without_body: bool = False, lines: tuple[bytes, ...] = ()
) -> bytes:
    """An answer of the worker itself. It tells the client the status and a request id, and nothing of the upstream.

    `lines` are further field lines.
    """
    body = b"%d %b\nrequest id: %b\n" % (status, REASONS[status], request_id)
    head = (
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Cache-Control: no-store\r\nX-Request-ID: %b\r\nConnection: %b\r\n"
    ) % (status, REASONS[status], len(body), request_id, b"keep-alive" if keep_alive else b"close")
    head += b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return head if without_body else head + body
