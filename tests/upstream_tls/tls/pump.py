"""A TLS handshake in memory, between a context under test and a server made for it."""

import contextlib
from dataclasses import dataclass

from OpenSSL import SSL

from upstream_tls.tls.context import ClientContext, PeerRefused
from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.zoo.servers import TLSUpstream

ADDRESS = "10.0.0.7"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a handshake, on both sides. `error` is None when it was finished and confirmed."""

    error: Diagnosis | None
    client: SSL.Connection
    server: SSL.Connection


def shake_hands(context: ClientContext, upstream: TLSUpstream, address: str = ADDRESS) -> Outcome:
    """Carries bytes to and fro until both sides are done or one gives up."""
    client = context.open(address)
    server = SSL.Connection(upstream.context(), None)
    server.set_accept_state()
    heard = b""
    for _ in range(6):
        try:
            client.do_handshake()
            context.confirm(client)
        except SSL.WantReadError:
            pass
        except (SSL.Error, PeerRefused):
            return Outcome(
                error=context.explain(client, first_bytes=heard[:5], peer_closed=False), client=client, server=server
            )
        _carry(client, server)
        with contextlib.suppress(SSL.Error):  # wants more, or has sent its alert
            server.do_handshake()
        heard += _carry(server, client)
    return Outcome(error=None, client=client, server=server)


def _carry(source: SSL.Connection, target: SSL.Connection) -> bytes:
    try:
        data: bytes = source.bio_read(65_536)
    except SSL.WantReadError:
        return b""
    target.bio_write(data)
    return data
