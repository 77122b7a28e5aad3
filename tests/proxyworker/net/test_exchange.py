"""One request and its response: bodies, interim and early responses, rules of the host."""

import errno

import pytest

from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream

POST_5 = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\n"
POST_CHUNKED = b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


# Bodies of responses


def test_length_to_length(proxy: MemoryProxy) -> None:
    """A body with a length keeps it, and both connections stay open."""
    client = proxy.client(GET)
    proxy.accept().deliver(OK)
    assert client.received == OK
    assert not client.end
    assert proxy.configuration.idle_connection_count == 1
    assert proxy.telemetry.answers == [("app.test", 200)]


def test_chunked_to_chunked(proxy: MemoryProxy) -> None:
    """A chunked body is chunked anew; extensions end here, and trailers that the client did not ask for."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(CHUNKED + b"3;x=y\r\nab")
    backend.deliver(b"c\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert client.received == CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert proxy.configuration.idle_connection_count == 1


def test_until_close_to_chunked(proxy: MemoryProxy) -> None:
    """A body that ends with the upstream's connection ends cleanly for the client, which keeps its own."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(UNTIL_CLOSE + b"ab")
    backend.close_by_peer()
    assert client.received == CHUNKED + b"2\r\nab\r\n0\r\n\r\n"
    assert not client.end
    assert proxy.configuration.idle_connection_count == 0


@pytest.mark.parametrize("is_chunked", [True, False])
def test_open_ended_to_http_10(proxy: MemoryProxy, is_chunked: bool) -> None:
    """A client of HTTP/1.0 knows no chunks: its connection's end is the body's."""
    client = proxy.client(GET_10.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
    backend = proxy.accept()
    if is_chunked:
        backend.deliver(CHUNKED + b"2\r\nab\r\n0\r\n\r\n")
    else:
        backend.deliver(UNTIL_CLOSE + b"ab")
        backend.close_by_peer()
    assert client.received == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab"
    assert client.end == "closed"


def test_http_10_with_length_keeps_alive(proxy: MemoryProxy) -> None:
    """A length is enough for HTTP/1.0 to keep the connection."""
    client = proxy.client(GET_10.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
    proxy.accept().deliver(OK)
    assert client.received == OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    assert not client.end


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
    ],
)
def test_responses_without_body(proxy: MemoryProxy, request_line: bytes, answer: bytes) -> None:
    """HEAD, 204 and 304 have no body, whatever their fields say; the next request follows at once."""
    client = proxy.client(request_line + GET[3:])
    backend = proxy.accept()
    backend.deliver(answer)
    client.deliver(GET)
    backend.deliver(OK)
    assert client.received == answer + OK
    assert len(proxy.dialler.attempts) == 1


def test_head_of_a_chunked_resource(proxy: MemoryProxy) -> None:
    """No chunk follows the answer to HEAD."""
    client = proxy.client(b"HEAD" + GET[3:])
    proxy.accept().deliver(CHUNKED)
    assert client.received == b"HTTP/1.1 200 OK\r\n\r\n"
    assert proxy.configuration.idle_connection_count == 1


def test_bytes_behind_a_response_are_nobodys(proxy: MemoryProxy) -> None:
    """An upstream that sends more than it said is not used again: the rest could answer somebody else."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert client.received == OK
    assert backend.end == "closed"
    proxy.settle()
    client.deliver(GET)
    assert len(proxy.dialler.attempts) == 2


def test_bytes_on_an_idle_connection_end_it(proxy: MemoryProxy) -> None:
    """What an upstream sends unasked answers nobody."""
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    backend.deliver(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    assert backend.end == "aborted"
    assert client.received == OK
    assert proxy.configuration.idle_connection_count == 0


# Bodies of requests


def test_body_that_comes_before_the_connection_waits(proxy: MemoryProxy) -> None:
    """At most one read of the body is held, and the client is paused meanwhile."""
    client = proxy.client(POST_5 + b"he")
    assert client.is_paused
    client.deliver(b"llo")
    backend = proxy.accept()
    proxy.settle()
    assert backend.received.endswith(b"Content-Length: 5\r\n\r\nhello")
    assert not client.is_paused
    backend.deliver(OK)
    assert client.received == OK


def test_chunked_request_is_chunked_anew(proxy: MemoryProxy) -> None:
    """Chunk by chunk as it comes, extensions dropped."""
    proxy.client(POST_CHUNKED + b"2;x\r\nhe\r\n").deliver(b"3\r\nllo\r\n0\r\n\r\n")
    backend = proxy.accept()
    proxy.settle()
    assert backend.received.endswith(b"chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")


def test_continue_is_passed_on(proxy: MemoryProxy) -> None:
    """The upstream's 100 reaches the client, whose body then reaches the upstream."""
    client = proxy.client(POST_5.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    backend = proxy.accept()
    assert b"\r\nExpect: 100-continue\r\n" in backend.received
    backend.deliver(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.deliver(b"hello")
    assert backend.received.endswith(b"hello")
    backend.deliver(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    assert client.received.endswith(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    assert not client.end


def test_final_answer_instead_of_continue_closes(proxy: MemoryProxy) -> None:
    """The client may leave its body out then, so what follows cannot be told apart: a smuggled request otherwise."""
    client = proxy.client(POST_5.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    backend = proxy.accept()
    backend.deliver(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert client.received == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    client.deliver(GET)
    proxy.advance(6)
    assert len(proxy.dialler.attempts) == 1
    assert client.end == "closed"


def test_interim_responses_are_not_for_http_10(proxy: MemoryProxy) -> None:
    """RFC 9110 section 15.2."""
    client = proxy.client(GET_10)
    proxy.accept().deliver(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n"])
def test_early_answer_then_the_rest_of_the_request_is_dropped(proxy: MemoryProxy, connection: bytes) -> None:
    """The client can finish sending and read the answer; only then does the connection go on, or close."""
    client = proxy.client(POST_5[:-2] + connection + b"\r\nhe")
    backend = proxy.accept()
    backend.deliver(OK)
    proxy.settle()
    assert backend.end == "closed"
    assert client.received.endswith(b"\r\n\r\nok")
    assert not client.end
    client.deliver(b"llo")
    proxy.settle()
    assert client.end == ("closed" if connection else "")
    if not connection:
        client.deliver(GET)
        proxy.accept().deliver(OK)
        assert client.received == OK * 2
    assert proxy.telemetry.failures == []


def test_draining_a_request_has_a_limit(dialler: Dialler) -> None:
    """Neither for ever nor without end."""
    proxy = MemoryProxy(dialler)
    slow = proxy.client(b"POST / HTTP/1.1\r\nHost: no.test\r\nContent-Length: 5\r\n\r\n")
    proxy.advance(5.1)
    assert slow.end == "closed"
    large = proxy.client(b"POST / HTTP/1.1\r\nHost: no.test\r\nContent-Length: 99999999\r\n\r\n")
    for _ in range(17):
        large.deliver(b"x" * 1024 * 1024)
    assert large.end == "closed"
    proxy.assert_nothing_left()


# Hosts


def test_no_upstream_is_503(dialler: Dialler) -> None:
    """A host without an enabled upstream."""
    proxy = MemoryProxy(dialler, entry(upstream(), upstreams=()))
    assert proxy.client(GET).received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


def test_rejected_host_is_502_and_never_laxer(dialler: Dialler) -> None:
    """A configuration that cannot be used opens no connection at all."""
    from proxyworker.snapshot import UpstreamTLS

    proxy = MemoryProxy(
        dialler, entry(upstream(scheme="https"), upstream_tls=UpstreamTLS(ca_certificate="not a certificate"))
    )
    assert proxy.client(GET).received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert dialler.attempts == []


def test_preserve_host(dialler: Dialler) -> None:
    """The client's Host field goes on when the host says so, the upstream's own name otherwise."""
    proxy = MemoryProxy(dialler, entry(preserve_host=True))
    proxy.client(GET.replace(b"app.test", b"app.test:8080"))
    assert b"\r\nHost: app.test:8080\r\n" in proxy.accept().received


def test_own_answers_to_head_have_no_body(dialler: Dialler) -> None:
    """The length is told, the body is not sent."""
    proxy = MemoryProxy(dialler)
    for request in (GET.replace(b"app", b"no"), GET):
        client = proxy.client(b"HEAD" + request[3:])
        if dialler.attempts:
            proxy.attempt.fail(OSError(errno.ECONNREFUSED, "refused"))
        assert client.received.endswith(b"\r\n\r\n")
        assert b"\r\nContent-Length: 0\r\n" not in client.received
