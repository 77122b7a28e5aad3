"""Connections to upstreams: deadlines, reuse."""

import pytest

from proxyworker.errors import Phase, RetrySafety
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.snapshot import Deadlines, UpstreamTLS
from tests.proxyworker.net.memory import HIGH_WATER_BYTES, Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream
from tests.support.certificates import Authority

DEADLINES = Deadlines(connect_s=3, tls_s=4, response_head_s=20, body_stall_s=10, idle_s=30)
UPLOAD = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 900000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def proxy(dialler: Dialler) -> MemoryProxy:
    """One host whose deadlines are all different, clients that may take their time."""
    limits = DownstreamLimits(body_stall_s=1000, write_stall_s=1000)
    return MemoryProxy(dialler, entry(deadlines=DEADLINES), limits=limits)


def assert_timed_out(proxy: MemoryProxy, received: bytes, phase: Phase) -> None:
    """The client was told 504, the operator when."""
    assert received.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    [failure] = proxy.telemetry.failures
    assert (failure.code, failure.phase, failure.timed_out) == ("timeout", phase, True)


def test_connect_deadline(proxy: MemoryProxy) -> None:
    """The attempt is given up and the client told 504."""
    client = proxy.client(GET)
    proxy.advance(DEADLINES.connect_s)
    assert_timed_out(proxy, client.received, Phase.CONNECT)
    assert proxy.attempt.is_cancelled
    client.close_by_peer()
    proxy.assert_nothing_left()


def test_tls_deadline(dialler: Dialler) -> None:
    """It begins when the connection is there; a client hello and then silence is cut off."""
    secure = entry(
        upstream(scheme="https"), deadlines=DEADLINES, upstream_tls=UpstreamTLS(ca_certificate=Authority().pem)
    )
    proxy = MemoryProxy(dialler, secure)
    client = proxy.client(GET)
    proxy.advance(DEADLINES.connect_s - 1)
    backend = proxy.accept()
    assert backend.received[:1] == b"\x16"
    proxy.advance(DEADLINES.tls_s - 1)
    assert not client.received
    proxy.advance(1)
    assert_timed_out(proxy, client.received, Phase.TLS)
    assert backend.end == "aborted"
    client.close_by_peer()
    proxy.assert_nothing_left()


def test_connect_deadline_tries_the_next_upstream(dialler: Dialler) -> None:
    """Nothing was sent yet."""
    proxy = MemoryProxy(dialler, entry(upstream(1), upstream(2), deadlines=DEADLINES))
    client = proxy.client(GET)
    proxy.advance(DEADLINES.connect_s)
    proxy.accept().deliver(OK)
    assert client.received == OK


def test_response_head_deadline(proxy: MemoryProxy) -> None:
    """From the end of the request to the end of the head; a head that crawls does not move it."""
    client = proxy.client(GET)
    backend = proxy.accept()
    for byte in b"HTT":
        proxy.advance(DEADLINES.response_head_s / 4)
        backend.deliver(bytes((byte,)))
    proxy.advance(DEADLINES.response_head_s / 4)
    assert_timed_out(proxy, client.received, Phase.HEAD)
    assert backend.end == "aborted"
    assert proxy.telemetry.failures[0].retry_safety is RetrySafety.UNSAFE


def test_interim_responses_do_not_move_the_head_deadline(proxy: MemoryProxy) -> None:
    """An upstream that sends them for ever has not answered, whatever it says to be at."""
    client = proxy.client(GET)
    backend = proxy.accept()
    for _ in range(4):
        backend.deliver(b"HTTP/1.1 102 Processing\r\n\r\n")
        proxy.advance(DEADLINES.response_head_s / 4)
    assert_timed_out(proxy, client.received.rpartition(b"Processing\r\n\r\n")[2], Phase.HEAD)


def test_body_deadline(proxy: MemoryProxy) -> None:
    """Between two pieces; then the answer is cut off."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(CHUNKED)
    for _ in range(3):
        proxy.advance(DEADLINES.body_stall_s - 1)
        backend.deliver(b"1\r\na\r\n")
    assert not client.end
    proxy.advance(DEADLINES.body_stall_s)
    assert (client.end, backend.end) == ("aborted", "aborted")
    [failure] = proxy.telemetry.failures
    assert (failure.phase, failure.timed_out) == (Phase.BODY, True)


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_slow_upload_is_not_the_upstreams_fault(proxy: MemoryProxy, interim: bytes) -> None:
    """While the client sends, however slowly, the upstream owes nothing; with 100-continue it died after 60 s."""
    client = proxy.client(UPLOAD)
    backend = proxy.accept()
    if interim:
        backend.deliver(interim)
    for _ in range(9):
        proxy.advance(DEADLINES.response_head_s * 2)
        client.deliver(b"x" * 100_000)
    assert proxy.telemetry.failures == []
    proxy.advance(DEADLINES.response_head_s - 1)
    backend.deliver(OK)
    assert client.received == interim + OK


def test_an_answer_during_the_upload_is_not_hurried(proxy: MemoryProxy) -> None:
    """Both directions at once: the upstream may wait for more of the request before it goes on."""
    client = proxy.client(UPLOAD)
    backend = proxy.accept()
    backend.deliver(CHUNKED)
    for _ in range(9):
        proxy.advance(DEADLINES.body_stall_s * 2)
        client.deliver(b"x" * 100_000)
        backend.deliver(b"1\r\na\r\n")
    assert proxy.telemetry.failures == []
    proxy.advance(DEADLINES.body_stall_s)
    assert client.end == "aborted"


def test_an_upstream_that_does_not_take_the_request(proxy: MemoryProxy) -> None:
    """Its write deadline runs as long as bytes wait for it."""
    client = proxy.client(UPLOAD)
    backend = proxy.accept()
    backend.peer_reads = False
    client.deliver(b"x" * 2 * HIGH_WATER_BYTES)
    proxy.advance(DEADLINES.body_stall_s - 1)
    backend.read_all()
    backend.peer_reads = False
    client.deliver(b"x" * 2 * HIGH_WATER_BYTES)
    proxy.advance(DEADLINES.body_stall_s - 1)
    assert not client.received
    proxy.advance(1)
    assert_timed_out(proxy, client.received, Phase.SEND)


def test_a_paused_response_has_no_deadline(proxy: MemoryProxy) -> None:
    """The client's own write deadline runs meanwhile."""
    client = proxy.client(GET)
    client.peer_reads = False
    backend = proxy.accept()
    backend.deliver(CHUNKED + b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
    assert backend.is_paused
    proxy.advance(DEADLINES.body_stall_s * 10)
    client.read_all()
    assert not backend.is_paused
    backend.deliver(b"0\r\n\r\n")
    assert client.received.endswith(b"\r\n0\r\n\r\n")


def test_idle_connection_is_closed_and_never_handed_out_again(proxy: MemoryProxy) -> None:
    """The pool forgets it at once, whether or not the upstream takes part in closing."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    proxy.now += DEADLINES.idle_s
    proxy.sweep.tick()
    assert backend.end == "closed"
    assert proxy.configuration.idle_connection_count == 0
    client.deliver(GET)
    assert len(proxy.dialler.attempts) == 2


def test_closing_that_takes_too_long_is_cut_off(proxy: MemoryProxy) -> None:
    """A peer that does not take what was written cannot keep the connection."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    backend.peer_reads = False
    backend.write(b"x")
    proxy.advance(DEADLINES.idle_s)
    assert backend.end == "closed"
    assert not backend.is_lost
    proxy.advance(DEADLINES.connect_s)
    assert backend.end == "aborted"
    client.close_by_peer()
    proxy.assert_nothing_left()


def test_connection_close_is_obeyed(proxy: MemoryProxy) -> None:
    """The upstream's wish, and what HTTP/1.0 means."""
    for answer in (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK.replace(b"1.1", b"1.0")):
        client = proxy.client(GET)
        backend = proxy.accept()
        backend.deliver(answer)
        assert client.received == OK
        assert backend.end == "closed"
    assert proxy.configuration.idle_connection_count == 0
