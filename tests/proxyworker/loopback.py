"""Real sockets on both sides of a worker: a host whose upstream the test plays itself."""

import contextlib
import socket
from collections.abc import Iterator

from proxyworker.snapshot import HostEntry, Upstream
from tests.proxyworker.worker import PATIENCE_S

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"


def host(port: int, domain: str = "app.test", host_id: str = "h1") -> HostEntry:
    """A host with one http upstream on loopback."""
    upstream = Upstream(upstream_id="u", scheme="http", address="127.0.0.1", port=port)
    return HostEntry(host_id=host_id, name=domain, domains=(domain,), upstreams=(upstream,))


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """An upstream that the test plays itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        yield server


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """All that comes up to `end` and with it; fails when the peer closes before."""
    data = b""
    while end not in data:
        piece = connection.recv(65_536)
        assert piece, data
        data += piece
    return data
