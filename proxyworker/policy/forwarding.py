"""What an upstream is told about the client's way here.

Laws of this module: a client can write any forwarding field, so all that came in are dropped and replaced by what this
worker saw itself; `policy.trusted_proxies` has the exception (docs/proxy.md). Host is the name of the upstream itself,
unless the host preserves what the client asked for.
"""

from collections.abc import Sequence

from proxyworker.policy.header_rules import HeaderRules
from proxyworker.protocol.fields import UPGRADE_LINES
from proxyworker.protocol.request import RequestHead
from proxyworker.protocol.trailers import TE_LINES, accepts_trailers, trailer_line
from proxyworker.snapshot import own_authority


def upstream_authority(*, scheme: str, address: str, port: int, server_name: str) -> bytes:
    """The Host field that an upstream gets under its own name."""
    return own_authority(scheme=scheme, address=address, port=port, server_name=server_name).encode("ascii")


def forwarded_node(address: bytes) -> bytes:
    """An address in Forwarded. RFC 7239 section 6: an IPv6 address stands in brackets and quotes."""
    return b'"[%b]"' % address if b":" in address else address


def way_prefix(chain: Sequence[bytes], *, scheme: str, port: int) -> bytes:
    """The lines about the way of a client, the first of `chain`, up to the host that it asked for in Forwarded."""
    client = chain[0]
    return (
        b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n"
        b"Forwarded: for=%b;proto=%b;host="
    ) % (b", ".join(chain), client, scheme.encode(), port, forwarded_node(client), scheme.encode())


class ForwardingFields:
    """The field lines about one client connection; everything that does not change between requests is made once."""

    __slots__ = ("_prefix",)

    def __init__(self, *, client_address: str, scheme: str, port: int) -> None:
        self._prefix = way_prefix((client_address.encode("ascii"),), scheme=scheme, port=port)

    def lines(self, request: RequestHead, request_id: bytes) -> bytes:
        """The lines for one request, each but the last ended by CRLF."""
        host = request.host
        return b'%b"%b"\r\nX-Forwarded-Host: %b\r\nX-Request-ID: %b' % (self._prefix, host, host, request_id)


def upstream_head(
    request: RequestHead,
    *,
    authority: bytes,
    forwarding: bytes,
    upgrade: bool = False,
    rules: HeaderRules | None = None,
) -> bytes:
    """The request head that goes to the upstream; hop-by-hop fields are gone, the framing is this worker's own.

    `upgrade`: the request asks for a WebSocket and the host permits it. `rules` are the host's.
    """
    parts = [request.method + b" " + request.target + b" HTTP/1.1\r\nHost: " + authority]
    if rules is None:
        parts += request.lines
        parts.append(forwarding)
    else:
        parts += rules.applied([*request.lines, *forwarding.split(b"\r\n")])
    if request.is_chunked:
        parts.append(b"Transfer-Encoding: chunked")
        if b"trailer" in request.judged:
            parts.append(trailer_line(request.judged))
    elif request.content_length is not None:
        parts.append(b"Content-Length: %d" % request.content_length)
    if upgrade:
        parts += UPGRADE_LINES
    elif b"te" in request.judged and accepts_trailers(request):
        parts += TE_LINES
    if request.expects_continue:
        parts.append(b"Expect: 100-continue")
    parts.append(b"\r\n")
    return b"\r\n".join(parts)
