"""Where connections of clients come in: limits, and the PROXY protocol."""

from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address

from proxyworker.net.doors import MAX_TURNED_AWAY, TURN_AWAY_S, Door
from proxyworker.policy.admission import Admission, Refusal
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.trusted_proxies import TrustedProxies
from tests.proxyworker.net.memory import Dialler, MemoryTransport
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy

HEADER = b"PROXY TCP4 198.51.100.1 192.0.2.1 40000 80\r\n"
TRUSTED = TrustedProxies(["10.0.0.1", "10.0.0.2"])


class Entrance:
    """A door of a data plane in memory."""

    def __init__(
        self,
        dialler: Dialler,
        *,
        max_connections: int = 0,
        max_per_client: int = 0,
        proxy_protocol: bool = False,
        scheme: str = "http",
    ) -> None:
        self.proxy = MemoryProxy(dialler, trusted=TRUSTED, scheme=scheme)
        self.admission = Admission(max_connections=max_connections, max_per_client=max_per_client, trusted=TRUSTED)
        factory = self.proxy.factory
        self.door = Door(factory, factory, self.admission, proxy_protocol=proxy_protocol)
        self._closed: dict[MemoryTransport, Callable[[], None]] = {}

    def connect(self, data: bytes = b"", peer: str = "198.51.100.9") -> MemoryTransport:
        """A client comes in, as the transport has it, and sends `data`."""
        protocol, closed = self.door.accept(IPv4Address("TCP", peer, 40_000))
        transport = MemoryTransport(protocol, peer=peer)
        protocol.makeConnection(transport)
        self.proxy._transports.append(transport)
        self._closed[transport] = closed
        if data:
            transport.deliver(data)
        self.settle()
        return transport

    def settle(self) -> None:
        """Lets everything happen; what is gone is told to the door."""
        self.proxy.settle()
        for transport in [transport for transport in self._closed if transport.is_lost]:
            self._closed.pop(transport)()

    def leave(self, transport: MemoryTransport) -> None:
        """The client closes."""
        transport.close_by_peer()
        self.settle()

    def answered(self, data: bytes, peer: str = "198.51.100.9") -> bytes:
        """What the upstream got for a client that is served."""
        client = self.connect(data, peer)
        backend = self.proxy.accept()
        backend.deliver(OK)
        assert client.received == OK
        received = backend.received
        self.leave(client)
        backend.close_by_peer()
        return received


# Limits


def test_over_the_total_is_503(dialler: Dialler) -> None:
    """Told once it has asked, with Retry-After; the next one is served when another is gone."""
    entrance = Entrance(dialler, max_connections=1)
    first = entrance.connect()
    second = entrance.connect()
    assert (second.received, second.end) == (b"", "")
    second.deliver(GET)
    assert second.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 10\r\n" in second.received
    assert b"\r\nConnection: close\r\n" in second.received
    second.deliver(GET)
    assert second.received.count(b"HTTP/1.1 ") == 1
    assert second.end == "half-closed"
    entrance.leave(second)
    entrance.leave(first)
    assert entrance.proxy.telemetry.refused_connections == [Refusal.TOTAL]
    assert b"GET / " in entrance.answered(GET)
    assert entrance.admission.total == 0
    entrance.proxy.assert_nothing_left()


def test_over_the_limit_of_a_client_is_429(dialler: Dialler) -> None:
    """Others are served meanwhile, and the same one when it has closed a connection."""
    entrance = Entrance(dialler, max_per_client=2)
    kept = [entrance.connect(peer="198.51.100.9") for _ in range(2)]
    third = entrance.connect(GET, peer="198.51.100.9")
    assert third.received.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: 10\r\n" in third.received
    entrance.leave(third)
    assert entrance.admission.total == 2
    entrance.answered(GET, peer="198.51.100.10")
    entrance.leave(kept[0])
    entrance.answered(GET, peer="198.51.100.9")
    assert entrance.proxy.telemetry.refused_connections == [Refusal.CLIENT]


def test_a_trusted_proxy_has_many_clients(dialler: Dialler) -> None:
    """So the limit for one client is not for it."""
    entrance = Entrance(dialler, max_per_client=1)
    for _ in range(5):
        assert not entrance.connect(peer="10.0.0.1").end
    assert entrance.proxy.telemetry.refused_connections == []


@pytest.mark.parametrize("limits", [{"max_connections": 1}, {"max_per_client": 1}])
def test_tls_is_closed_before_the_handshake(dialler: Dialler, limits: dict[str, int]) -> None:
    """An answer would need the handshake, and that is the work that the limit saves."""
    entrance = Entrance(dialler, scheme="https", **limits)
    entrance.connect()
    second = entrance.connect()
    assert (second.end, second.received) == ("aborted", b"")
    assert len(entrance.proxy.telemetry.refused_connections) == 1


def test_turned_away_clients_do_not_stay(dialler: Dialler) -> None:
    """Neither long, nor many at a time: the limit on descriptors must not be reached by those that are refused."""
    entrance = Entrance(dialler, max_connections=1)
    first = entrance.connect()
    waiting = [entrance.connect() for _ in range(MAX_TURNED_AWAY + 3)]
    assert [client.end for client in waiting] == [""] * MAX_TURNED_AWAY + ["aborted"] * 3
    entrance.proxy.advance(TURN_AWAY_S + 0.1)
    entrance.settle()
    assert {client.end for client in waiting} == {"aborted"}
    assert entrance.connect(GET).received.startswith(b"HTTP/1.1 503 ")
    entrance.proxy.advance(TURN_AWAY_S + 0.1)
    entrance.leave(first)
    entrance.proxy.assert_nothing_left()


# PROXY protocol


def test_the_header_names_the_client(dialler: Dialler) -> None:
    """Not the proxy that opened the connection; at every split."""
    for split in range(len(HEADER) + 1):
        entrance = Entrance(dialler, proxy_protocol=True)
        client = entrance.connect(HEADER[:split], peer="10.0.0.2")
        client.deliver(HEADER[split:] + GET)
        received = entrance.proxy.accept().received
        assert b"\r\nX-Forwarded-For: 198.51.100.1\r\n" in received
        assert b"10.0.0.2" not in received


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"])
def test_a_header_without_a_client(dialler: Dialler, header: bytes) -> None:
    """Stands for the connection itself: that of a trusted proxy, which may name the client in its request."""
    entrance = Entrance(dialler, proxy_protocol=True)
    request = GET[:-2] + b"X-Forwarded-For: 198.51.100.3\r\n\r\n"
    assert b"\r\nX-Forwarded-For: 198.51.100.3, 10.0.0.1\r\n" in entrance.answered(header + request, peer="10.0.0.1")
    assert b"\r\nX-Forwarded-For: 10.0.0.1\r\n" in entrance.answered(header + GET, peer="10.0.0.1")


def test_a_trusted_proxy_behind_the_header(dialler: Dialler) -> None:
    """A chain of a proxy of both kinds: the header names a trusted one, and its request names the client."""
    entrance = Entrance(dialler, proxy_protocol=True)
    request = GET[:-2] + b"X-Forwarded-For: 198.51.100.3\r\n\r\n"
    trusted = HEADER.replace(b"198.51.100.1", b"10.0.0.2")
    assert b"\r\nX-Forwarded-For: 198.51.100.3, 10.0.0.2\r\n" in entrance.answered(trusted + request, peer="10.0.0.1")
    assert b"\r\nX-Forwarded-For: 198.51.100.1\r\n" in entrance.answered(HEADER + request, peer="10.0.0.1")


@pytest.mark.parametrize("data", [GET, b"\x16\x03\x01\x00\xc8\x01", HEADER.replace(b"TCP4", b"TCP5") + GET])
def test_what_is_no_header_is_closed_without_an_answer(dialler: Dialler, data: bytes) -> None:
    """And counted; nothing of it reaches HTTP."""
    entrance = Entrance(dialler, proxy_protocol=True)
    client = entrance.connect(data, peer="10.0.0.1")
    assert (client.end, client.received) == ("aborted", b"")
    assert entrance.proxy.telemetry.refused_connections == [Refusal.PROXY_PROTOCOL]
    assert entrance.admission.total == 0
    assert dialler.attempts == []
    entrance.proxy.assert_nothing_left()


def test_a_header_from_somebody_else(dialler: Dialler) -> None:
    """Whoever is not trusted could name any client: closed without a look at it."""
    entrance = Entrance(dialler, proxy_protocol=True)
    client = entrance.connect(peer="198.51.100.9")
    assert (client.end, client.received) == ("aborted", b"")
    assert entrance.proxy.telemetry.refused_connections == [Refusal.UNTRUSTED]


def test_a_header_that_does_not_come(dialler: Dialler) -> None:
    """Byte after byte does not move its deadline; the connection counts while it is awaited."""
    entrance = Entrance(dialler, proxy_protocol=True, max_connections=1)
    limit = DownstreamLimits().proxy_header_s
    client = entrance.connect(HEADER[:1], peer="10.0.0.1")
    assert entrance.admission.total == 1
    for byte in HEADER[1:9]:
        assert not client.end
        client.deliver(bytes((byte,)))
        entrance.proxy.advance(limit / 7)
    entrance.settle()
    assert (client.end, client.received) == ("aborted", b"")
    assert entrance.proxy.telemetry.refused_connections == [Refusal.PROXY_PROTOCOL]
    assert entrance.admission.total == 0
    entrance.proxy.assert_nothing_left()


def test_the_end_of_a_half_behind_a_header(dialler: Dialler) -> None:
    """Means the same as without one: a complete request is answered. Without a whole header it is the end."""
    entrance = Entrance(dialler, proxy_protocol=True)
    client = entrance.connect(HEADER + GET, "10.0.0.1")
    backend = entrance.proxy.accept()
    client.half_close_by_peer()
    assert not client.end
    backend.deliver(OK)
    entrance.settle()
    assert client.received.endswith(b"ok")
    assert client.is_lost
    client = entrance.connect(HEADER[:-1], "10.0.0.1")
    client.half_close_by_peer()
    entrance.settle()
    assert client.is_lost
    assert entrance.admission.total == 0


def test_the_limit_of_a_client_behind_a_header(dialler: Dialler) -> None:
    """Is that of the client that the header names."""
    entrance = Entrance(dialler, proxy_protocol=True, max_per_client=1)
    first = entrance.connect(HEADER, peer="10.0.0.1")
    second = entrance.connect(HEADER + GET, peer="10.0.0.2")
    assert second.received.startswith(b"HTTP/1.1 429 ")
    entrance.leave(second)
    entrance.answered(HEADER.replace(b"198.51.100.1", b"198.51.100.2") + GET, peer="10.0.0.1")
    entrance.leave(first)
    entrance.answered(HEADER + GET, peer="10.0.0.1")
    assert entrance.admission.total == 0
    entrance.proxy.assert_nothing_left()
