"""WebSocket tunnels: how they begin, what they carry, how they end."""

import datetime

import pytest
from OpenSSL import SSL

from proxyworker.build import build
from proxyworker.errors import Phase
from proxyworker.net.tunnel import CLOSE_S
from proxyworker.snapshot import Deadlines, LoadedEntry, UpstreamTLS
from tests.proxyworker.net.memory import HIGH_WATER_BYTES, Dialler, MemoryTransport
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, loaded, upstream
from tests.proxyworker.net.test_upstream_tls import TLSPeer, proxy_for
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.servers import TLSUpstream

DEADLINES = Deadlines(tunnel_idle_s=300, tunnel_lifetime_s=2000, tunnel_drain_s=20)
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
# Any bytes: a tunnel reads no frames.
PING = b"\x89\x80\x00\x00\x00\x00"
PIECE = b"x" * 100_000
TOMBSTONE = LoadedEntry(host_id="h1", generation=2, digest="", entry_json="")


@pytest.fixture
def proxy(dialler: Dialler) -> MemoryProxy:
    """One host whose tunnels have deadlines, all different."""
    return MemoryProxy(dialler, entry(deadlines=DEADLINES))


def opened(proxy: MemoryProxy) -> tuple[MemoryTransport, MemoryTransport]:
    """`(client, upstream)` of a tunnel that has carried nothing yet."""
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    backend.deliver(SWITCHING)
    assert client.received == SWITCHING
    return client, backend


def carried(client: MemoryTransport, backend: MemoryTransport) -> tuple[bytes, bytes]:
    """`(to the client, to the upstream)` behind the heads."""
    return client.received.partition(b"\r\n\r\n")[2], backend.received.partition(b"\r\n\r\n")[2]


def end_both(proxy: MemoryProxy, client: MemoryTransport, backend: MemoryTransport) -> None:
    """Peers close what the worker has half-closed; nothing is left over."""
    for transport in (client, backend):
        if not transport.is_lost:
            assert transport.end
            transport.close_by_peer()
    proxy.configuration.close()
    proxy.assert_nothing_left()
    assert proxy.telemetry.closed_tunnels == proxy.telemetry.tunnels


# Beginning


def test_upgrade_is_passed_on_and_bytes_go_both_ways(proxy: MemoryProxy) -> None:
    """The fields of the upgrade reach the upstream as they came, the 101 the client; from there on byte for byte."""
    client, backend = opened(proxy)
    head = backend.received
    assert head.startswith(b"GET /chat HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" in head
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" in head
    assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in head
    client.deliver(PING)
    client.deliver(GET)
    backend.deliver(b"\x8a\x00")
    backend.deliver(OK)
    assert carried(client, backend) == (b"\x8a\x00" + OK, PING + GET)
    assert len(proxy.dialler.attempts) == 1
    assert proxy.telemetry.answers == [("app.test", 101)]
    [tunnel] = proxy.telemetry.tunnels
    assert (tunnel.bytes_to_client, tunnel.bytes_to_upstream) == (2 + len(OK), len(PING + GET))


def test_switch_at_every_split_point(dialler: Dialler) -> None:
    """The 101 in two reads, wherever it is split, with bytes right behind it; nothing is lost and nothing added."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    data = interim + SWITCHING + PING
    for split in range(1, len(data)):
        dialler.attempts.clear()
        proxy = MemoryProxy(dialler)
        client = proxy.client(UPGRADE)
        backend = proxy.accept()
        backend.deliver(data[:split])
        backend.deliver(data[split:])
        assert client.received == data, split
        client.deliver(PING)
        assert backend.received.endswith(b"\r\n\r\n" + PING), split


def test_bytes_right_behind_the_request_belong_to_the_tunnel(dialler: Dialler) -> None:
    """A client that does not wait for the 101 loses nothing, wherever its bytes are split."""
    data = UPGRADE + PING + b"more"
    for split in range(1, len(data)):
        dialler.attempts.clear()
        proxy = MemoryProxy(dialler)
        client = proxy.client(data[:split])
        client.deliver(data[split:])
        backend = proxy.accept()
        assert PING not in backend.received, split
        backend.deliver(SWITCHING)
        proxy.settle()
        assert carried(client, backend)[1] == PING + b"more", split
        assert not client.is_paused, split


def test_idle_connection_of_the_pool_is_used_and_never_returns(proxy: MemoryProxy) -> None:
    """The same pool and identity as for all traffic; after the 101 the connection is nobody else's."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    client.deliver(UPGRADE)
    assert len(proxy.dialler.attempts) == 1
    backend.deliver(SWITCHING + PING)
    assert client.received == OK + SWITCHING + PING
    assert proxy.configuration.idle_connection_count == 0
    client.close_by_peer()
    backend.close_by_peer()
    assert proxy.configuration.idle_connection_count == 0


def test_idle_connection_that_was_closed_meanwhile_costs_nothing(proxy: MemoryProxy) -> None:
    """As for every GET: sent once more on a fresh connection."""
    client = proxy.client(GET)
    stale = proxy.accept()
    stale.deliver(OK)
    client.deliver(UPGRADE)
    stale.close_by_peer()
    proxy.accept().deliver(SWITCHING)
    assert client.received == OK + SWITCHING


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden", b"426 Upgrade Required"])
def test_any_other_answer_is_an_ordinary_one(proxy: MemoryProxy, status: bytes) -> None:
    """Both connections go on with HTTP: what the client sends next is a request that the gate reads."""
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno"
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    backend.deliver(answer)
    assert client.received == answer
    assert proxy.configuration.idle_connection_count == 1
    client.deliver(b"GET / HTTP/1.1\r\nHost: app.test\r\nHost: admin.test\r\n\r\n")
    assert client.received.startswith(answer + b"HTTP/1.1 400 ")
    assert proxy.telemetry.tunnels == []


def test_host_without_websockets(dialler: Dialler) -> None:
    """The request is an ordinary one; a 101 all the same is refused, and the client sees none of it."""
    proxy = MemoryProxy(dialler, entry(websockets=False))
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    assert b"pgrade" not in backend.received
    backend.deliver(SWITCHING + PING)
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert PING not in client.received
    assert proxy.telemetry.codes == ["malformed_response"]


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHING.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCHING.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        SWITCHING.replace(b"Upgrade: websocket\r\n", b""),
        SWITCHING.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_101_to_something_else_is_refused(proxy: MemoryProxy, answer: bytes) -> None:
    """RFC 9110 section 7.8: only what was asked for; the client gets 502 and no tunnel."""
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    backend.deliver(answer + PING)
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert backend.end == "aborted"
    assert proxy.telemetry.codes == ["malformed_response"]
    assert proxy.telemetry.tunnels == []


@pytest.mark.parametrize(
    "request_data",
    [
        GET,
        UPGRADE.replace(b"websocket", b"h2c"),
        UPGRADE.replace(b"GET", b"POST"),
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"),
        UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive"),
    ],
)
def test_101_to_what_was_no_upgrade_is_refused(proxy: MemoryProxy, request_data: bytes) -> None:
    """An upstream that is talked into a 101 opens no way past the proxy."""
    client = proxy.client(request_data)
    backend = proxy.accept()
    assert b"pgrade" not in backend.received
    backend.deliver(SWITCHING)
    proxy.settle()
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert proxy.telemetry.tunnels == []


def test_pipelined_upgrade_waits_for_its_turn(proxy: MemoryProxy) -> None:
    """The 101 comes behind the answer before it."""
    client = proxy.client(GET + UPGRADE + PING)
    backend = proxy.accept()
    backend.deliver(OK)
    backend.deliver(SWITCHING)
    proxy.settle()
    assert client.received == OK + SWITCHING
    assert backend.received.endswith(b"\r\n\r\n" + PING)


# Back-pressure


def test_client_that_does_not_read_stops_the_upstream(proxy: MemoryProxy) -> None:
    """What waits for it is bounded; when it reads again all arrives in order."""
    client, backend = opened(proxy)
    client.peer_reads = False
    pieces = [bytes((number,)) * 20_000 for number in range(100)]
    for piece in pieces:
        backend.deliver(piece)
    assert backend.is_paused
    assert client.most_buffered < HIGH_WATER_BYTES + 20_001
    assert not client.is_paused
    client.read_all()
    proxy.settle()
    assert carried(client, backend)[0] == b"".join(pieces)


def test_upstream_that_does_not_read_stops_the_client(proxy: MemoryProxy) -> None:
    """The same the other way round."""
    client, backend = opened(proxy)
    backend.peer_reads = False
    pieces = [bytes((number,)) * 20_000 for number in range(100)]
    for piece in pieces:
        client.deliver(piece)
    assert client.is_paused
    assert backend.most_buffered < HIGH_WATER_BYTES + 20_001
    backend.read_all()
    proxy.settle()
    assert carried(client, backend)[1] == b"".join(pieces)


def test_client_that_stopped_reading_before_the_101(proxy: MemoryProxy) -> None:
    """The upstream is stopped from the beginning, and goes on when the client does."""
    client = proxy.client(GET + UPGRADE)
    backend = proxy.accept()
    client.peer_reads = False
    backend.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PIECE)
    assert backend.received.count(b" HTTP/1.1\r\n") == 1
    client.read_all()
    backend.deliver(SWITCHING)
    backend.deliver(PIECE)
    proxy.settle()
    assert client.received.endswith(SWITCHING + PIECE)
    client.peer_reads = False
    backend.deliver(PIECE)
    assert backend.is_paused
    client.read_all()
    assert not backend.is_paused


# Deadlines


def test_idle_tunnel_is_ended_in_order(proxy: MemoryProxy) -> None:
    """Bytes of either direction put it off; then both halves end, and peers that do not close are cut off."""
    client, backend = opened(proxy)
    for transport in (client, backend, client):
        proxy.advance(DEADLINES.tunnel_idle_s - 1)
        transport.deliver(PING)
    proxy.advance(DEADLINES.tunnel_idle_s - 2)
    assert (client.end, backend.end) == ("", "")
    proxy.advance(2)
    assert (client.end, backend.end) == ("half-closed", "half-closed")
    client.deliver(PING)
    proxy.advance(CLOSE_S)
    assert (client.end, backend.end) == ("aborted", "aborted")
    end_both(proxy, client, backend)
    assert proxy.telemetry.failures == []


def test_lifetime_holds_for_busy_tunnels(proxy: MemoryProxy) -> None:
    """Whatever passes."""
    client, backend = opened(proxy)
    for _ in range(int(DEADLINES.tunnel_lifetime_s // 100)):
        assert not client.end
        proxy.advance(100)
        client.deliver(PING)
    assert (client.end, backend.end) == ("half-closed", "half-closed")
    end_both(proxy, client, backend)


def test_other_deadlines_do_not_hold_in_a_tunnel(dialler: Dialler) -> None:
    """Neither those of requests nor those of responses; without a lifetime, only silence ends it."""
    proxy = MemoryProxy(dialler)
    client, backend = opened(proxy)
    for _ in range(100):
        proxy.advance(3000)
        client.deliver(PING)
    assert (client.end, backend.end) == ("", "")


# Ends


def test_client_ends_in_order(proxy: MemoryProxy) -> None:
    """All that it sent reaches the upstream, then the end of its half; late bytes of the upstream go nowhere."""
    client, backend = opened(proxy)
    client.deliver(PING)
    client.close_by_peer()
    assert backend.end == "half-closed"
    backend.deliver(PING)
    assert carried(client, backend) == (b"", PING)
    end_both(proxy, client, backend)
    assert proxy.telemetry.failures == []


def test_client_that_ended_its_half_before_the_101(proxy: MemoryProxy) -> None:
    """What it sent goes to the upstream, then the end; without the client's half there is no tunnel to keep."""
    client = proxy.client(UPGRADE + PING)
    backend = proxy.accept()
    client.half_close_by_peer()
    backend.deliver(SWITCHING)
    proxy.settle()
    assert carried(client, backend) == (b"", PING)
    assert (client.end, backend.end) == ("closed", "half-closed")
    end_both(proxy, client, backend)


def test_client_that_ends_its_half_but_does_not_read(proxy: MemoryProxy) -> None:
    """Has CLOSE_S to take what was sent to it, then the tunnel ends for the upstream as well; not when it is idle."""
    client, backend = opened(proxy)
    client.peer_reads = False
    backend.deliver(PIECE)
    client.half_close_by_peer()
    proxy.advance(CLOSE_S + 1)
    assert backend.end == "half-closed"
    proxy.advance(CLOSE_S + 1)
    assert client.end == "aborted"
    end_both(proxy, client, backend)


def test_upstream_ends_in_order(proxy: MemoryProxy) -> None:
    """The same the other way round; a client that was stopped is heard again, so that its close is seen."""
    client, backend = opened(proxy)
    backend.peer_reads = False
    client.deliver(PIECE)
    client.deliver(PIECE)
    assert client.is_paused
    backend.deliver(b"bye")
    backend.close_by_peer()
    assert client.end == "half-closed"
    assert not client.is_paused
    proxy.settle()
    assert carried(client, backend)[0] == b"bye"
    end_both(proxy, client, backend)


def test_upstream_that_breaks_off_is_told_as_such(proxy: MemoryProxy) -> None:
    """The client is cut off too, never ended cleanly; the operator reads which upstream it was."""
    client, backend = opened(proxy)
    backend.deliver(b"half a fra")
    backend.reset_by_peer()
    assert client.end == "aborted"
    [failure] = proxy.telemetry.failures
    assert (failure.phase, failure.code) == (Phase.TUNNEL, "connection_reset")
    end_both(proxy, client, backend)


def test_client_that_breaks_off_is_no_failure_of_the_upstream(proxy: MemoryProxy) -> None:
    """The upstream is cut off, and nobody is blamed."""
    client, backend = opened(proxy)
    client.reset_by_peer()
    assert backend.end == "aborted"
    end_both(proxy, client, backend)
    assert proxy.telemetry.failures == []


def test_upstream_fails_before_the_101(proxy: MemoryProxy) -> None:
    """As every request: 502 and the cause in the log."""
    client = proxy.client(UPGRADE)
    proxy.accept().reset_by_peer()
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert proxy.telemetry.codes == ["connection_reset"]


def test_client_is_gone_before_the_101(proxy: MemoryProxy) -> None:
    """The upstream is cut off."""
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    client.close_by_peer()
    assert backend.end == "aborted"
    proxy.assert_nothing_left()


# Reload and stop


@pytest.mark.parametrize("change", ["identity", "deleted"])
def test_tunnels_of_a_retired_pool_have_time_to_drain(proxy: MemoryProxy, change: str) -> None:
    """Bytes go on passing until then, and no longer."""
    client, backend = opened(proxy)
    changed = entry(upstream(2), deadlines=DEADLINES)
    proxy.configuration.install([build(loaded(changed, 2))] if change == "identity" else [build(TOMBSTONE)])
    proxy.advance(DEADLINES.tunnel_drain_s - 1)
    client.deliver(PING)
    assert (client.end, carried(client, backend)[1]) == ("", PING)
    proxy.advance(1)
    assert (client.end, backend.end) == ("half-closed", "half-closed")
    end_both(proxy, client, backend)


def test_tunnel_that_begins_on_a_retired_pool_drains_too(proxy: MemoryProxy) -> None:
    """The request was under way when its host changed."""
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    proxy.install(entry(upstream(2), deadlines=DEADLINES), generation=2)
    backend.deliver(SWITCHING)
    proxy.advance(DEADLINES.tunnel_drain_s)
    assert (client.end, backend.end) == ("half-closed", "half-closed")


def test_unrelated_change_leaves_tunnels_alone(proxy: MemoryProxy) -> None:
    """Same upstreams, same identity: same pool."""
    client, _ = opened(proxy)
    proxy.install(entry(deadlines=DEADLINES, name="renamed"), generation=2)
    proxy.advance(DEADLINES.tunnel_drain_s * 2)
    assert not client.end


def test_stop_of_the_worker(proxy: MemoryProxy) -> None:
    """Open tunnels and one that begins meanwhile get the time that is left."""
    client, backend = opened(proxy)
    late = proxy.client(UPGRADE)
    late_backend = proxy.accept()
    proxy.factory.drain(tunnels_within_s=5)
    late_backend.deliver(SWITCHING)
    proxy.advance(4)
    client.deliver(PING)
    assert (client.end, late.end) == ("", "")
    proxy.advance(1)
    assert {each.end for each in (client, backend, late, late_backend)} == {"half-closed"}
    for transport in (client, backend, late, late_backend):
        transport.close_by_peer()
    proxy.assert_nothing_left()


# Over TLS


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of tunnels", datetime.datetime.now(datetime.UTC))


def tls_opened(proxy: MemoryProxy, pki: PKI) -> tuple[MemoryTransport, MemoryTransport, TLSPeer]:
    """A tunnel to an upstream that demands a client certificate; the 101 and the first bytes are one record."""
    client = proxy.client(UPGRADE + PING)
    server = TLSUpstream(identity=pki.server(), clients=(pki.clients_root,))
    peer = TLSPeer(server, transport := proxy.accept())
    peer.shake_hands()
    assert b"Upgrade: websocket\r\n" in peer.session.recv(65_536)
    peer.session.send(SWITCHING + b"first")
    peer.give()
    proxy.settle()
    peer.take()
    assert client.received == SWITCHING + b"first"
    assert peer.session.recv(65_536) == PING
    return client, transport, peer


def test_tunnel_over_mtls_ends_with_close_notify(pki: PKI, dialler: Dialler) -> None:
    """The client's end reaches the upstream as the end of the TLS session, not as a cut-off."""
    proxy = proxy_for(dialler, settings(pki))
    client, transport, peer = tls_opened(proxy, pki)
    client.close_by_peer()
    peer.take()
    with pytest.raises(SSL.ZeroReturnError):
        peer.session.recv(1)
    assert transport.end == "half-closed"


def test_upstreams_close_notify_ends_the_clients_half(pki: PKI, dialler: Dialler) -> None:
    """An end in order is one for the client too."""
    proxy = proxy_for(dialler, settings(pki))
    client, transport, peer = tls_opened(proxy, pki)
    peer.session.send(b"bye")
    peer.session.shutdown()
    peer.give()
    proxy.settle()
    assert client.received.endswith(b"bye")
    assert client.end == "half-closed"
    assert transport.is_lost
    assert proxy.telemetry.failures == []


def test_close_without_close_notify_is_no_failure(pki: PKI, dialler: Dialler) -> None:
    """A reset towards the client could overtake the close frame; nothing is blamed on the upstream."""
    proxy = proxy_for(dialler, settings(pki))
    client, transport, _ = tls_opened(proxy, pki)
    transport.close_by_peer()
    assert client.end == "half-closed"
    assert proxy.telemetry.failures == []


def test_reset_and_broken_records_cut_the_client_off(pki: PKI, dialler: Dialler) -> None:
    """Neither is an end in order."""
    for break_off in (MemoryTransport.reset_by_peer, lambda transport: transport.deliver(b"\x17\x03\x03\x00\x05wrong")):
        dialler.attempts.clear()
        proxy = proxy_for(dialler, settings(pki))
        client, transport, _ = tls_opened(proxy, pki)
        break_off(transport)
        proxy.settle()
        assert client.end == "aborted"
        assert proxy.telemetry.codes == ["connection_reset"]


def test_failed_handshake_is_diagnosed_as_for_all_traffic(pki: PKI, dialler: Dialler) -> None:
    """The same identity, the same codes."""
    proxy = MemoryProxy(dialler, entry(upstream(scheme="https"), upstream_tls=UpstreamTLS(ca_certificate="")))
    client = proxy.client(UPGRADE)
    peer = TLSPeer(TLSUpstream(identity=pki.server()), proxy.accept())
    peer.shake_hands()
    proxy.settle()
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert proxy.telemetry.codes == ["unknown_authority"]
