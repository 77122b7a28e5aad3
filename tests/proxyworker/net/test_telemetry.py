"""What connections tell of requests: enough for a line of the access log, and for what is counted."""

import contextlib
import json
import ssl

import pytest

from proxyworker.access_log.lines import line_maker
from proxyworker.net.downstream_tls import TLSFactory
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.snapshot import HostEntry, UpstreamTLS
from tests.proxyworker.net.memory import Dialler, MemoryTransport
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream
from tests.proxyworker.net.test_downstream_tls import NOW, Browser
from tests.proxyworker.net.test_tunnel import PING, SWITCHING, UPGRADE

POST = b"POST /up HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\n"
POST_CHUNKED = b"POST /up HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
SECRETS = b"Authorization: Bearer canary\r\nCookie: session=canary\r\nProxy-Authorization: canary\r\n"


def told(proxy: MemoryProxy) -> list[dict[str, object]]:
    """The lines of all that was answered so far."""
    line = line_maker("json")
    return [json.loads(line(made, 0.0)) for made in proxy.telemetry.records]


def only(proxy: MemoryProxy, **expected: object) -> None:
    """There is one line, with these fields."""
    [line] = told(proxy)
    assert {name: line[name] for name in expected} == expected


def test_an_answer_of_an_upstream(proxy: MemoryProxy) -> None:
    """Who asked for what, who answered, and how long it took."""
    client = proxy.client(GET)
    backend = proxy.accept()
    proxy.now += 0.5
    backend.deliver(OK)
    only(
        proxy,
        host="app.test",
        client="192.0.2.7",
        scheme="http",
        method="GET",
        target="/",
        protocol="HTTP/1.1",
        status=200,
        upstream="http://10.0.0.1:8080",
        upstream_status=200,
        attempts=1,
        upstream_failure=None,
        bytes_received=len(GET),
        bytes_sent=len(client.received),
        duration_ms=500,
    )
    [line] = told(proxy)
    assert f"X-Request-ID: {line['request_id']}\r\n".encode() in backend.received


def test_time_to_connect_is_told_once(proxy: MemoryProxy) -> None:
    """Of the request that the connection was opened for; the next one on it has none."""
    client = proxy.client(GET)
    proxy.now += 0.25
    backend = proxy.accept()
    backend.deliver(OK)
    client.deliver(GET)
    backend.deliver(OK)
    assert [line["upstream_connect_ms"] for line in told(proxy)] == [250, None]
    assert proxy.telemetry.opened == [(0.25, None)]


@pytest.mark.parametrize("pieces", [1, 3])
def test_all_bytes_are_counted(proxy: MemoryProxy, pieces: int) -> None:
    """In each of the four directions, however they arrive."""
    client = proxy.client(POST_CHUNKED)
    backend = proxy.accept()
    for part in (b"1\r\na\r\n", b"2\r\nbc\r\n", b"0\r\n\r\n"):
        client.deliver(part)
    answer = (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    size = len(answer) // pieces + 1
    for start in range(0, len(answer), size):
        backend.deliver(answer[start : start + size])
    [transferred] = proxy.telemetry.transferred
    received, to_upstream, from_upstream, sent = transferred
    assert received == len(POST_CHUNKED) + 3
    assert (to_upstream, from_upstream, sent) == (len(backend.received), len(answer), len(client.received))


def test_body_that_waits_for_a_connection_is_counted_once(proxy: MemoryProxy) -> None:
    """It is sent together with the head."""
    proxy.client(POST + b"12345")
    backend = proxy.accept()
    backend.deliver(OK)
    [(received, to_upstream, _, _)] = proxy.telemetry.transferred
    assert (received, to_upstream) == (len(POST) + 5, len(backend.received))


def test_answer_of_another_upstream(dialler: Dialler) -> None:
    """The last one tried, with the number of attempts and why the one before failed."""
    proxy = MemoryProxy(dialler, entry(upstream(1), upstream(2)))
    proxy.client(GET)
    proxy.attempt.fail(ConnectionRefusedError(111, "refused"))
    proxy.accept().deliver(OK)
    [line] = told(proxy)
    assert line["upstream"] == f"http://{proxy.attempt.host}:8080"
    assert (line["attempts"], line["upstream_failure"], line["upstream_status"]) == (2, "connection_refused", 200)


def test_failing_upstream(proxy: MemoryProxy) -> None:
    """The worker's answer, no status of the upstream, and the code of the diagnosis."""
    proxy.client(GET)
    proxy.attempt.fail(ConnectionRefusedError(111, "refused"))
    only(proxy, status=502, upstream_status=None, upstream_failure="connection_refused", attempts=1)


def test_client_that_leaves(proxy: MemoryProxy) -> None:
    """499, and what it got until then."""
    client = proxy.client(GET)
    proxy.accept().deliver(OK[:-1])
    client.reset_by_peer()
    only(proxy, status=499, upstream_status=200, bytes_sent=len(OK) - 1)


@pytest.mark.parametrize(
    ("host", "request_bytes", "status", "name"),
    [
        (entry(), b"GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n", 404, None),
        (entry(upstream(scheme="https"), upstream_tls=UpstreamTLS(ca_certificate="x")), GET, 502, "app.test"),
    ],
)
def test_answers_without_upstream(
    dialler: Dialler, host: HostEntry, request_bytes: bytes, status: int, name: str | None
) -> None:
    """With the request that they answer."""
    proxy = MemoryProxy(dialler, host)
    client = proxy.client(request_bytes)
    only(proxy, status=status, host=name, method="GET", upstream=None, bytes_received=len(request_bytes))
    [line] = told(proxy)
    assert line["bytes_sent"] == len(client.received)
    assert str(line["request_id"]).encode() in client.received


def test_host_without_upstreams(dialler: Dialler) -> None:
    """No upstream is told when none was tried."""
    host = entry()
    proxy = MemoryProxy(dialler, HostEntry(host_id="h", name="app.test", domains=host.domains))
    proxy.client(GET)
    only(proxy, status=503, host="app.test", upstream=None, attempts=0)


def test_refused_request(proxy: MemoryProxy) -> None:
    """Nothing of it is shown, for it could not be read."""
    client = proxy.client(b"GET / HTTP/1.1\r\nHost: a b\r\nX: canary\r\n\r\n")
    only(proxy, status=400, host=None, method=None, target=None, bytes_sent=len(client.received))
    assert proxy.telemetry.answers == []
    assert proxy.telemetry.refusals == [400]


def test_refused_body(dialler: Dialler) -> None:
    """One line, of the request that it belongs to, under the id that the client was told."""
    proxy = MemoryProxy(dialler, limits=DownstreamLimits(body_stall_s=1))
    client = proxy.client(POST)
    proxy.accept()
    proxy.advance(2)
    only(proxy, status=408, host="app.test", target="/up", bytes_sent=len(client.received))
    [line] = told(proxy)
    assert f"request id: {line['request_id']}\n".encode() in client.received


def websocket(proxy: MemoryProxy) -> tuple[MemoryTransport, MemoryTransport]:
    client = proxy.client(UPGRADE)
    backend = proxy.accept()
    backend.deliver(SWITCHING)
    return client, backend


def test_websocket_is_told_of_at_its_end(proxy: MemoryProxy) -> None:
    """With all bytes that it carried and all the time it took."""
    client, backend = websocket(proxy)
    client.deliver(PING)
    backend.deliver(PING + PING)
    proxy.now += 60
    client.close_by_peer()
    [tunnel] = proxy.telemetry.closed_tunnels
    record = tunnel.record(proxy.now)
    assert record is not None
    line = json.loads(line_maker("json")(record, 0.0))
    assert (line["status"], line["upstream_status"], line["duration_ms"]) == (101, 101, 60_000)
    assert (line["host"], line["target"], line["upstream"]) == ("app.test", "/chat", "http://10.0.0.1:8080")
    assert (line["bytes_received"], line["bytes_sent"]) == (len(UPGRADE + PING), len(client.received))


def test_websocket_of_a_host_without_access_log_keeps_no_request(dialler: Dialler) -> None:
    """Its memory is for nothing."""
    proxy = MemoryProxy(dialler, entry(access_log=False))
    websocket(proxy)
    [tunnel] = proxy.telemetry.tunnels
    assert tunnel.record(proxy.now) is None


def test_secrets_are_not_told(proxy: MemoryProxy) -> None:
    """Whatever a request proves itself with is not in its line."""
    proxy.client(GET.replace(b"\r\n\r\n", b"\r\n" + SECRETS + b"\r\n"))
    proxy.accept().deliver(OK)
    for form in ("json", "combined"):
        lines = [line_maker(form)(made, 0.0) for made in proxy.telemetry.records]  # type: ignore[arg-type]
        assert len(lines) == 1
        assert b"canary" not in b"".join(lines)


def test_handshakes_of_clients(proxy: MemoryProxy) -> None:
    """Those that succeed, and those that do not, once each."""
    Browser(proxy).shake_hands()
    assert proxy.telemetry.handshakes == ["full"]
    broken = Browser(proxy)
    broken.transport.deliver(b"GET / HTTP/1.1\r\n\r\n")
    broken.transport.settle()
    silent = Browser(proxy)
    proxy.advance(DownstreamLimits().handshake_s + 1)
    silent.transport.settle()
    assert proxy.telemetry.handshakes == ["full", "failed", "failed"]


def test_a_resumed_session_is_told(proxy: MemoryProxy) -> None:
    """As OpenSSL tells it; the same listener has to have given the ticket."""
    factory = TLSFactory(proxy.factory, NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ticket: ssl.SSLSession | None = None
    for _ in range(2):
        layer = factory.buildProtocol(None)
        transport = MemoryTransport(layer)
        layer.makeConnection(transport)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, session=ticket)
        seen = 0
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            if data := outgoing.read():
                transport.deliver(data)
            incoming.write(transport.received[seen:])
            seen = len(transport.received)
        ticket = client.session
    assert proxy.telemetry.handshakes == ["full", "resumed"]
