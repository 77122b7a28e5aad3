"""Client connections: bodies over the host's limit, and clients that close their half."""

import pytest

from proxyworker.policy.limits import DownstreamLimits
from proxyworker.snapshot import HostLimits
from tests.proxyworker.net.memory import HIGH_WATER_BYTES, Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry

LIMITS = DownstreamLimits()
POST_5 = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\n"
POST_6 = POST_5.replace(b"5", b"6")
POST_CHUNKED = b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
NOT_FOUND = GET.replace(b"app", b"no")


@pytest.fixture
def limited(dialler: Dialler) -> MemoryProxy:
    """One host that takes bodies of 5 bytes."""
    return MemoryProxy(dialler, entry(limits=HostLimits(max_body_bytes=5)))


# Bodies over the limit


def test_body_as_large_as_the_limit_passes(limited: MemoryProxy) -> None:
    """With a length and chunked, one after the other on one connection."""
    client = limited.client(POST_5 + b"hello")
    backend = limited.accept()
    limited.settle()
    backend.deliver(OK)
    for body in (b"5\r\nhello\r\n0\r\n\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"):
        client.deliver(POST_CHUNKED + body)
        backend.deliver(OK)
    assert client.received == OK * 3


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_length_over_the_limit_is_413_at_once(limited: MemoryProxy, expect: bytes) -> None:
    """No upstream is asked, no 100 sent; the client reads the answer although it goes on sending."""
    client = limited.client(POST_6[:-2] + expect + b"\r\n")
    assert client.received.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert b"\r\nConnection: close\r\n" in client.received
    assert client.end == "half-closed"
    client.deliver(b"x" * 100_000 + GET)
    assert limited.dialler.attempts == []
    assert limited.telemetry.refusals == [413]
    assert limited.telemetry.answers == [("app.test", 413)]
    limited.advance(LIMITS.drain_s + 1)
    limited.assert_nothing_left()


def test_chunks_over_the_limit_are_413(limited: MemoryProxy) -> None:
    """The request to the upstream is broken off, never ended, and what was too much is not sent."""
    client = limited.client(POST_CHUNKED + b"3\r\nhel\r\n")
    backend = limited.accept()
    limited.settle()
    client.deliver(b"3\r\nlo!\r\n0\r\n\r\n" + GET)
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert client.end == "half-closed"
    assert backend.end == "aborted"
    assert backend.received.endswith(b"3\r\nhel\r\n")
    assert len(limited.dialler.attempts) == 1
    assert limited.telemetry.answers == [("app.test", 413)]


def test_refused_body_of_a_head_has_an_answer_without_one(limited: MemoryProxy) -> None:
    """RFC 9110 section 9.3.2: no content in a response to HEAD, whoever gives it."""
    client = limited.client(POST_CHUNKED.replace(b"POST", b"HEAD") + b"9\r\ntoo large\r\n")
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert client.received.endswith(b"\r\n\r\n")


def test_chunks_over_the_limit_while_connecting(limited: MemoryProxy) -> None:
    """The attempt is given up."""
    client = limited.client(POST_CHUNKED + b"9\r\ntoo large\r\n")
    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert limited.attempt.is_cancelled


def test_chunks_over_the_limit_behind_the_answers_head(limited: MemoryProxy) -> None:
    """A status was sent already: only a cut-off is left."""
    client = limited.client(POST_CHUNKED + b"3\r\nhel\r\n")
    backend = limited.accept()
    backend.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
    client.deliver(b"3\r\nlo!\r\n")
    assert client.end == "aborted"
    assert backend.end == "aborted"


def test_other_hosts_have_no_limit(dialler: Dialler) -> None:
    """The limit is the host's."""
    other = entry(domain="other.test", host_id="h2")
    proxy = MemoryProxy(dialler, entry(limits=HostLimits(max_body_bytes=5)), other)
    client = proxy.client(POST_6.replace(b"app", b"other") + b"hello!")
    proxy.accept().deliver(OK)
    assert client.received == OK


# Clients that close their half


def test_half_closed_client_gets_its_answer(proxy: MemoryProxy) -> None:
    """Then the connection closes, which the answer says; the upstream's stays."""
    client = proxy.client(GET)
    backend = proxy.accept()
    client.half_close_by_peer()
    assert not client.end
    backend.deliver(OK)
    assert client.received == CLOSE
    assert client.end == "closed"
    assert backend.end == ""
    assert proxy.telemetry.answers == [("app.test", 200)]
    assert proxy.telemetry.failures == []


def test_half_closed_client_with_a_body_gets_its_answer(proxy: MemoryProxy) -> None:
    """The request was complete."""
    client = proxy.client(POST_5 + b"he")
    backend = proxy.accept()
    client.deliver(b"llo")
    client.half_close_by_peer()
    backend.deliver(OK)
    assert client.received == CLOSE


@pytest.mark.parametrize("sent", [POST_5 + b"hell", POST_CHUNKED + b"2\r\nhe\r\n0\r\n"])
def test_half_of_a_request_is_worth_no_answer(proxy: MemoryProxy, sent: bytes) -> None:
    """The upstream must not take it for a whole one."""
    client = proxy.client(sent)
    backend = proxy.accept()
    proxy.settle()
    client.half_close_by_peer()
    proxy.settle()
    assert client.end == "closed"
    assert backend.end == "aborted"
    assert client.received == b""
    assert proxy.telemetry.answers == [("app.test", 499)]


def test_answer_to_half_a_request_is_cut_off(proxy: MemoryProxy) -> None:
    """A body that lasts to the end of its connection would look complete."""
    client = proxy.client((POST_5 + b"hell").replace(b"HTTP/1.1", b"HTTP/1.0"))
    backend = proxy.accept()
    backend.deliver(b"HTTP/1.1 200 OK\r\n\r\nthe first half")
    client.half_close_by_peer()
    proxy.settle()
    assert client.end == "aborted"
    assert backend.end == "aborted"
    assert proxy.telemetry.answers == [("app.test", 499)]
    proxy.assert_nothing_left()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n", NOT_FOUND, NOT_FOUND * 2 + b"GET"])
def test_half_closed_connection_without_a_request_closes(proxy: MemoryProxy, sent: bytes) -> None:
    """Nothing more will be asked."""
    client = proxy.client(sent)
    client.half_close_by_peer()
    proxy.settle()
    assert client.end == "closed"
    assert client.received.count(b"HTTP/1.1 404 ") == sent.count(b"no.test")
    proxy.assert_nothing_left()


@pytest.mark.parametrize(
    ("behind", "answers"), [(GET, 2), (GET + NOT_FOUND + NOT_FOUND, 4), (NOT_FOUND + GET, 3), (b"GET / HT", 1)]
)
def test_pipelined_requests_before_the_end_are_answered(proxy: MemoryProxy, behind: bytes, answers: int) -> None:
    """All that are complete; under TLS the end can be seen while they wait."""
    client = proxy.client(GET + behind)
    backend = proxy.accept()
    client.half_close_by_peer()
    for _ in range((GET + behind).count(GET)):
        assert not client.end
        backend.deliver(OK)
    assert client.received.count(b"HTTP/1.1 ") == answers
    proxy.settle()
    assert client.end == "closed"


def test_gone_client_cancels_the_upstream(proxy: MemoryProxy) -> None:
    """A client that closed its connection looks half-closed until something is written: so that is not waited for."""
    client = proxy.client(GET)
    backend = proxy.accept()
    client.half_close_by_peer()
    proxy.advance(LIMITS.half_closed_s - 1)
    assert not backend.end
    proxy.advance(2)
    assert backend.end == "aborted"
    assert client.end == "aborted"
    assert proxy.telemetry.answers == [("app.test", 499)]
    proxy.assert_nothing_left()


def test_answer_that_has_begun_may_take_its_time(proxy: MemoryProxy) -> None:
    """Its own deadlines run; a reset of the client ends it."""
    client = proxy.client(GET)
    backend = proxy.accept()
    client.half_close_by_peer()
    backend.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na")
    for byte in (b"b", b"c"):
        proxy.advance(LIMITS.half_closed_s + 1)
        backend.deliver(byte)
        assert not client.end
    client.reset_by_peer()
    assert backend.end == "aborted"
    assert proxy.telemetry.answers == [("app.test", 499)]


def test_half_closed_client_that_does_not_read_is_cut_off(proxy: MemoryProxy) -> None:
    """By the write deadline, and one that reads at last gets all of it."""
    for reads in (True, False):
        client = proxy.client(GET)
        backend = proxy.accept()
        client.half_close_by_peer()
        client.peer_reads = False
        size = HIGH_WATER_BYTES * 2
        backend.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        proxy.advance(LIMITS.half_closed_s + 1)
        assert client.end in ("", "closed")
        if reads:
            client.read_all()
            proxy.settle()
            assert client.received.endswith(b"x" * size)
        else:
            proxy.advance(LIMITS.write_stall_s + 1)
        assert client.is_lost
    proxy.configuration.close()
    proxy.assert_nothing_left()


def test_end_of_a_refused_client_closes(proxy: MemoryProxy) -> None:
    """It has read its answer; there is nothing to wait for."""
    client = proxy.client(b"nonsense\r\n\r\n")
    assert client.end == "half-closed"
    client.half_close_by_peer()
    assert client.end == "closed"
    proxy.assert_nothing_left()


# Refusals behind an answer


def test_broken_rest_of_an_answered_request_ends_the_connection(limited: MemoryProxy) -> None:
    """A second status line would answer a request that nobody sent; neither for a bad chunk nor for one too many."""
    for rest in (b"nonsense\r\n", b"9\r\ntoo large\r\n"):
        client = limited.client(POST_CHUNKED + b"2\r\nhe\r\n")
        limited.accept().deliver(OK)
        assert client.received == OK
        client.deliver(rest + GET)
        assert client.received == OK
        assert client.end == "half-closed"
        limited.settle()
