"""Trailer sections of chunked messages (RFC 9110 section 6.5, RFC 9112 section 7.1.2).

Laws of this module:
- RFC 9110 section 6.5.1: a trailer field must not be one that frames or routes the message, authenticates, modifies the
  request, controls the response or describes the content. Many recipients merge trailers into the fields of the head,
  so such a field would say behind every gate what none would have let pass. It is dropped; the message is not refused.
- A field that Connection names is removed from trailers as well (RFC 9110 section 7.6.1).
- Trailers go out behind a body that is chunked, to who said that it takes them (section 10.1.4), and never as fields.
"""

from collections.abc import Iterable, Sequence

from proxyworker.protocol.body import LAST_CHUNK
from proxyworker.protocol.fields import (
    HOP_BY_HOP,
    Judged,
    cgi_name,
    connection_options,
    field_name,
    is_field_name,
    list_members,
)
from proxyworker.protocol.request import FORWARDING, RequestHead

# TE is for one connection, so Connection has to name it (RFC 9110 section 10.1.4).
TE_LINES = (b"Connection: TE", b"TE: trailers")

_FORBIDDEN = (
    HOP_BY_HOP
    | FORWARDING
    | {
        *(b"host", b"expect", b"max-forwards", b"range", b"http2-settings"),
        *(b"authorization", b"www-authenticate", b"authentication-info", b"cookie", b"set-cookie"),
        *(b"age", b"cache-control", b"date", b"expires", b"location", b"pragma", b"retry-after", b"vary", b"warning"),
        *(b"origin", b"referer", b"strict-transport-security", b"clear-site-data", b"refresh"),
    }
)
_FORBIDDEN_PREFIXES = (b"content-", b"if-", b"proxy-", b"sec-", b"accept", b"access-control-", b"x-forwarded-")

# RFC 9530 section 2: made for trailers, since a digest is known behind the content only.
_PERMITTED = frozenset((b"content-digest",))


def _is_permitted(name: bytes) -> bool:
    return name in _PERMITTED or not (name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIXES))


def _named(judged: Judged) -> frozenset[bytes]:
    values = judged.get(b"connection")
    return connection_options(values)[1] if values else frozenset()


def passable(trailers: Iterable[bytes], judged: Judged) -> list[bytes]:
    """The trailer lines that may go further; `judged` is what was set apart of the message's head."""
    named = _named(judged)
    return [line for line in trailers if _is_permitted(cgi_name(line)) and field_name(line) not in named]


def trailer_line(judged: Judged) -> bytes:
    """The Trailer field that announces those of the message's trailers that may go further, if any (section 6.6.2)."""
    named = _named(judged)
    names = [
        name
        for name in list_members(judged.get(b"trailer", ()))
        if is_field_name(name) and _is_permitted(cgi_name(name)) and name not in named
    ]
    return b"Trailer: " + b", ".join(names)


def accepts_trailers(request: RequestHead) -> bool:
    """Whether the client takes the trailers of a response: "TE: trailers"; HTTP/1.0 has no place for any."""
    return b"te" in request.judged and not request.is_http_10 and b"trailers" in list_members(request.judged[b"te"])


def last_chunk(trailers: Sequence[bytes]) -> bytes:
    """The end of a chunked body with these trailer lines."""
    return b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n" if trailers else LAST_CHUNK
