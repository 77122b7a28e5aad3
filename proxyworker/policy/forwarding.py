"""What an upstream is told about the client's way here.

Laws of this module: a client can write any forwarding field, so all that came in are dropped and replaced by what this
worker saw itself (docs/proxy.md). Host is the upstream's own name unless the host preserves the client's.
"""

from proxyworker.protocol.fields import UPGRADE_LINES
from proxyworker.protocol.request import RequestHead


def default_port(scheme: str) -> int:
    """The port that an authority of this scheme leaves out (RFC 9110 section 4.2)."""
    return 443 if scheme == "https" else 80


def upstream_authority(*, scheme: str, address: str, port: int, server_name: str) -> bytes:
    """The Host field that an upstream gets under its own name: the server name override, else its address."""
    name = server_name or (f"[{address}]" if ":" in address else address)
    return (name if port == default_port(scheme) else f"{name}:{port}").encode("ascii")


class ForwardingFields:
    """The field lines about one client connection; everything that does not change between requests is made once."""

    __slots__ = ("_prefix",)

    def __init__(self, *, client_address: str, scheme: str, port: int) -> None:
        address = client_address.encode("ascii")
        # RFC 7239 section 6: an IPv6 address stands in brackets and quotes.
        forwarded = b'"[%b]"' % address if b":" in address else address
        self._prefix = (
            b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n"
            b"Forwarded: for=%b;proto=%b;host="
        ) % (address, address, scheme.encode(), port, forwarded, scheme.encode())

    def lines(self, request: RequestHead, request_id: bytes) -> bytes:
        """The lines for one request, each but the last ended by CRLF."""
        host = request.host
        return b'%b"%b"\r\nX-Forwarded-Host: %b\r\nX-Request-ID: %b' % (self._prefix, host, host, request_id)


def upstream_head(request: RequestHead, *, authority: bytes, forwarding: bytes, upgrade: bool = False) -> bytes:
    """The request head that goes to the upstream; hop-by-hop fields are gone, the framing is this worker's own.

    `upgrade`: the request asks for a WebSocket and the host permits it.
    """
    parts = [request.method + b" " + request.target + b" HTTP/1.1\r\nHost: " + authority]
    parts += request.lines
    parts.append(forwarding)
    if request.is_chunked:
        parts.append(b"Transfer-Encoding: chunked")
    elif request.content_length is not None:
        parts.append(b"Content-Length: %d" % request.content_length)
    if upgrade:
        parts += UPGRADE_LINES
    if request.expects_continue:
        parts.append(b"Expect: 100-continue")
    parts.append(b"\r\n")
    return b"\r\n".join(parts)
