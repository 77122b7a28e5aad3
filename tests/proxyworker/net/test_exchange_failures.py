"""Exchanges that fail: what the client gets, what the operator is told, what is tried again."""

import errno
import socket

import pytest

from proxyworker.errors import Phase, RetrySafety
from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream

POST_5 = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def refused() -> OSError:
    return OSError(errno.ECONNREFUSED, "refused")


def test_aborted_body_is_cut_off_for_the_client(proxy: MemoryProxy) -> None:
    """A response that breaks off must not look complete."""
    for answer in (OK[:-1], CHUNKED + b"2\r\nab\r\n"):
        client = proxy.client(GET)
        backend = proxy.accept()
        backend.deliver(answer)
        backend.close_by_peer()
        assert client.received == answer
        assert client.end == "aborted"
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(UNTIL_CLOSE + b"ab")
    backend.reset_by_peer()
    assert not client.received.endswith(b"0\r\n\r\n")
    assert client.end == "aborted"
    assert [failure.phase for failure in proxy.telemetry.failures] == [Phase.BODY] * 3
    proxy.assert_nothing_left()


def test_until_close_to_http_10_is_reset_when_it_breaks_off(proxy: MemoryProxy) -> None:
    """Nothing but the reset tells such a client that the body is incomplete."""
    client = proxy.client(GET_10)
    backend = proxy.accept()
    backend.deliver(UNTIL_CLOSE + b"ab")
    backend.reset_by_peer()
    assert client.end == "aborted"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    ],
)
def test_malformed_response_is_502(proxy: MemoryProxy, answer: bytes) -> None:
    """The client gets somebody's answer or an error, never bytes of unknown extent."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(answer)
    assert client.received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert not client.end
    assert backend.end == "aborted"
    assert proxy.telemetry.codes == ["malformed_response"]


def test_malformed_chunk_cuts_the_answer_off(proxy: MemoryProxy) -> None:
    """A status was sent already: only a cut-off is left."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(CHUNKED)
    backend.deliver(b"xyz\r\n")
    assert client.end == "aborted"
    assert proxy.telemetry.codes == ["malformed_response"]


@pytest.mark.parametrize(
    ("error", "code", "reason", "phase"),
    [
        (refused(), "connection_refused", "dial tcp {}: connect: connection refused", Phase.CONNECT),
        (OSError(errno.EHOSTUNREACH, "x"), "unreachable", "dial tcp {}: connect: no route to host", Phase.CONNECT),
        (OSError(errno.ETIMEDOUT, "x"), "timeout", "i/o timeout", Phase.CONNECT),
        (OSError(errno.EMFILE, "x"), "connect_failed", "dial tcp {}: connect failed", Phase.CONNECT),
        (OSError("x"), "connect_failed", "dial tcp {}: connect failed", Phase.CONNECT),
        (socket.gaierror(socket.EAI_NONAME, "x"), "dns_failure", "lookup 10.0.0.1: no such host", Phase.RESOLVE),
    ],
)
def test_connection_that_cannot_be_opened(
    proxy: MemoryProxy, error: OSError, code: str, reason: str, phase: Phase
) -> None:
    """502 for the client; phase, code and the words of docs/upstream-mtls.md for the operator."""
    client = proxy.client(GET)
    proxy.attempt.fail(error)
    assert client.received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"10.0.0" not in client.received
    [failure] = proxy.telemetry.failures
    assert (failure.code, failure.phase, failure.retry_safety) == (code, phase, RetrySafety.NEVER_SENT)
    assert failure.reason == reason.format("10.0.0.1:8080")


def test_failover_to_the_next_upstream(dialler: Dialler) -> None:
    """What was never sent goes to each upstream once, the body with it."""
    proxy = MemoryProxy(dialler, entry(upstream(1), upstream(2), upstream(3)))
    client = proxy.client(POST_5 + b"hello")
    proxy.attempt.fail(refused())
    proxy.attempt.fail(refused())
    backend = proxy.accept()
    assert [attempt.host for attempt in dialler.attempts] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert b"Host: 10.0.0.3:8080\r\n" in backend.received
    assert backend.received.endswith(b"hello")
    backend.deliver(OK)
    assert client.received == OK


def test_when_all_refuse_the_client_is_told_once(dialler: Dialler) -> None:
    """One attempt for each upstream, then 502."""
    proxy = MemoryProxy(dialler, entry(upstream(1), upstream(2)))
    client = proxy.client(GET)
    proxy.attempt.fail(refused())
    proxy.attempt.fail(refused())
    assert client.received.count(b"HTTP/1.1 502") == 1
    assert len(dialler.attempts) == 2
    assert proxy.telemetry.answers == [("app.test", 502)]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_stale_pooled_connection(proxy: MemoryProxy, method: bytes) -> None:
    """The upstream closed it just when it was used: GET is sent again, once, and nobody is alarmed; POST is not."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    client.deliver(method + GET[3:])
    assert backend.received.count(b"HTTP/1.1\r\n") == 2
    backend.close_by_peer()
    if method == b"POST":
        assert client.received.startswith(OK + b"HTTP/1.1 502 ")
        assert len(proxy.dialler.attempts) == 1
        return
    proxy.accept().close_by_peer()
    assert client.received.startswith(OK + b"HTTP/1.1 502 ")
    assert len(proxy.dialler.attempts) == 2
    assert proxy.telemetry.codes == ["connection_closed"]
    assert proxy.telemetry.retries == [("u1", "stale")]


def test_a_connection_that_is_closing_is_not_used(proxy: MemoryProxy) -> None:
    """Not even for a POST, which could not be sent again."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    backend.disconnecting = True  # the loop has read the end, the protocol has not heard of it yet
    client.deliver(POST_5 + b"hello")
    assert backend.received.count(b"HTTP/1.1\r\n") == 1
    proxy.accept().deliver(OK)
    assert client.received == OK * 2


def test_answer_half_way_is_not_repeated(proxy: MemoryProxy) -> None:
    """A reused connection that broke off after some bytes is no stale one."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    client.deliver(GET)
    backend.deliver(b"HTTP/1.1 20")
    backend.close_by_peer()
    assert client.received.startswith(OK + b"HTTP/1.1 502 ")
    assert len(proxy.dialler.attempts) == 1


def test_client_that_leaves_cancels_the_upstream(proxy: MemoryProxy) -> None:
    """While connecting, while waiting for the answer, and in the middle of it; counted as 499."""
    opening = proxy.client(GET)
    opening.close_by_peer()
    assert proxy.attempt.is_cancelled
    for answer in (b"", OK[:-1]):
        client = proxy.client(GET)
        backend = proxy.accept()
        if answer:
            backend.deliver(answer)
        client.close_by_peer()
        assert backend.end == "aborted"
    assert proxy.telemetry.answers == [("app.test", 499)] * 3
    assert proxy.telemetry.failures == []
    proxy.assert_nothing_left()


def test_connection_that_comes_after_its_client_left_is_closed(proxy: MemoryProxy) -> None:
    """Between the cancel and its effect the connection may be made."""
    proxy.client(GET).close_by_peer()
    backend = proxy.accept()
    assert backend.end == "aborted"
    assert backend.received == b""
    proxy.assert_nothing_left()
