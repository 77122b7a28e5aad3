"""Client connections: turns, deadlines, back-pressure, draining, reload."""

import pytest

from proxyworker.net.downstream import FIRST_REQUEST_S
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.snapshot import Deadlines
from tests.proxyworker.net.memory import HIGH_WATER_BYTES, Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream

LIMITS = DownstreamLimits()
POST_5 = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\n"
LARGE = 50 * 1024 * 1024
PIECE = 128 * 1024
UPLOAD = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n"
DOWNLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE


# Turns


def test_pipelined_requests_are_answered_in_order(proxy: MemoryProxy) -> None:
    """The second request waits, unread by anybody, until the first is answered."""
    client = proxy.client(GET + GET.replace(b" / ", b" /two ") + POST_5 + b"hel")
    client.deliver(b"lo")
    backend = proxy.accept()
    assert client.is_paused
    assert backend.received.count(b" HTTP/1.1\r\n") == 1
    backend.deliver(OK)
    assert backend.received.count(b" HTTP/1.1\r\n") == 2
    assert b"GET /two HTTP/1.1\r\n" in backend.received
    backend.deliver(OK.replace(b"ok", b"no"))
    proxy.settle()
    assert backend.received.endswith(b"hello")
    backend.deliver(OK)
    assert client.received == OK + OK.replace(b"ok", b"no") + OK
    assert not client.is_paused


def test_nothing_is_left_of_one_exchange_in_the_next(proxy: MemoryProxy) -> None:
    """Bodies, HEAD, chunks and closing belong to their own exchange."""
    client = proxy.client(POST_5 + b"hello")
    backend = proxy.accept()
    backend.deliver(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
    client.deliver(b"HEAD" + GET[3:])
    backend.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    client.deliver(GET)
    backend.deliver(OK)
    client.deliver(POST_5 + b"world")
    backend.deliver(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.deliver(GET)
    backend.deliver(OK)
    assert client.received.endswith(OK + b"HTTP/1.1 204 No Content\r\n\r\n" + OK)
    assert len(proxy.dialler.attempts) == 1


def test_request_ids_differ(proxy: MemoryProxy) -> None:
    """Two requests of one connection have two ids."""
    client = proxy.client(GET.replace(b"app", b"no") * 2)
    ids = {line for line in client.received.split(b"\r\n") if line.startswith(b"X-Request-ID: ")}
    assert ids == {b"X-Request-ID: test-00000001", b"X-Request-ID: test-00000002"}


def test_many_answers_without_upstream_do_not_recurse(proxy: MemoryProxy) -> None:
    """A read full of requests that are answered at once."""
    client = proxy.client(GET.replace(b"app", b"no") * 5000)
    assert client.received.count(b"HTTP/1.1 404 ") == 5000


# Deadlines


def test_silent_connection_is_closed_without_a_word(proxy: MemoryProxy) -> None:
    """Nothing was asked, nothing is answered."""
    client = proxy.client()
    proxy.advance(LIMITS.head_s - 1)
    assert not client.end
    proxy.advance(2)
    assert (client.end, client.received) == ("closed", b"")
    proxy.assert_nothing_left()


@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_slow_head_is_408(proxy: MemoryProxy, before: bytes) -> None:
    """Byte after byte does not move the deadline of a head, empty lines neither."""
    client = proxy.client(before + GET[:4])
    for byte in GET[4:25]:
        client.deliver(bytes((byte,)))
        proxy.advance(LIMITS.head_s / 20)
    assert client.received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert client.end == "half-closed"
    assert proxy.telemetry.refusals == [408]


def test_empty_lines_do_not_keep_a_connection(proxy: MemoryProxy) -> None:
    """They are part of a head that never comes."""
    client = proxy.client()
    for _ in range(4):
        proxy.advance(LIMITS.head_s / 3)
        if not client.end:
            client.deliver(b"\r\n")
    assert client.end


def test_refused_client_that_stays_is_cut_off(proxy: MemoryProxy) -> None:
    """It may read its answer and send what it likes, for a while."""
    client = proxy.client(b"nonsense\r\n\r\n")
    assert client.end == "half-closed"
    client.deliver(GET)
    assert client.received.count(b"HTTP/1.1 ") == 1
    proxy.advance(LIMITS.drain_s + 1)
    assert client.end == "aborted"
    proxy.assert_nothing_left()


def test_slow_body_is_408(proxy: MemoryProxy) -> None:
    """A body that stalls is refused; one that only crawls is not."""
    client = proxy.client(POST_5 + b"h")
    backend = proxy.accept()
    proxy.settle()
    for byte in b"el":
        proxy.advance(LIMITS.body_stall_s - 1)
        client.deliver(bytes((byte,)))
    assert not client.end
    proxy.advance(LIMITS.body_stall_s + 1)
    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert backend.end == "aborted"
    assert proxy.telemetry.answers == [("app.test", 408)]
    assert proxy.telemetry.failures == []


def test_stalled_body_after_the_answer_began_is_cut_off(proxy: MemoryProxy) -> None:
    """There is no second status line in one answer."""
    client = proxy.client(POST_5 + b"h")
    backend = proxy.accept()
    backend.deliver(OK[:-1])
    proxy.advance(LIMITS.body_stall_s + 1)
    assert client.received == OK[:-1]
    assert (client.end, backend.end) == ("aborted", "aborted")
    proxy.assert_nothing_left()


def test_idle_keep_alive_connection_is_closed(proxy: MemoryProxy) -> None:
    """Without a word, after its time."""
    client = proxy.client(GET)
    proxy.accept().deliver(OK)
    proxy.advance(LIMITS.keep_alive_s - 1)
    assert not client.end
    proxy.advance(2)
    assert (client.end, client.received) == ("closed", OK)
    proxy.assert_nothing_left()


def test_waiting_for_an_upstream_is_not_the_clients_fault(proxy: MemoryProxy) -> None:
    """While the upstream thinks, no deadline of the client runs."""
    client = proxy.client(GET)
    backend = proxy.accept()
    proxy.advance(59)
    backend.deliver(OK)
    assert client.received == OK


# Back-pressure


def test_client_that_does_not_read_pauses_the_upstream(proxy: MemoryProxy) -> None:
    """Of 50 MB no more is held than the high-water mark and one read."""
    client = proxy.client(GET)
    client.peer_reads = False
    backend = proxy.accept()
    backend.deliver(DOWNLOAD)
    for _ in range(LARGE // PIECE):
        backend.deliver(b"x" * PIECE)
    assert backend.is_paused
    assert client.most_buffered <= HIGH_WATER_BYTES + PIECE
    assert backend.unread_bytes > LARGE - 4 * PIECE
    client.read_all()
    proxy.settle()
    assert len(client.received) == len(DOWNLOAD) + LARGE
    assert proxy.configuration.idle_connection_count == 1


def test_client_that_never_reads_is_cut_off(proxy: MemoryProxy) -> None:
    """After the write deadline; the upstream's deadlines do not run meanwhile, and its connection goes too."""
    client = proxy.client(GET)
    client.peer_reads = False
    backend = proxy.accept()
    backend.deliver(DOWNLOAD + b"x" * PIECE)
    proxy.advance(LIMITS.write_stall_s - 1)
    assert not client.end
    proxy.advance(2)
    assert (client.end, backend.end) == ("aborted", "aborted")
    assert proxy.telemetry.answers == [("app.test", 499)]
    assert proxy.telemetry.failures == []
    proxy.assert_nothing_left()


def test_client_that_sent_all_but_never_reads_is_cut_off(proxy: MemoryProxy) -> None:
    """Also when the end of its request comes while it does not read; that deadline was forgotten then."""
    client = proxy.client(UPLOAD % 10)
    client.peer_reads = False
    backend = proxy.accept()
    backend.deliver(DOWNLOAD + b"x" * PIECE)
    client.deliver(b"0123456789")
    assert backend.received.endswith(b"0123456789")
    proxy.advance(LIMITS.write_stall_s + 1)
    assert (client.end, backend.end) == ("aborted", "aborted")
    proxy.assert_nothing_left()


def test_client_that_reads_again_is_not_blamed_for_the_upstream(dialler: Dialler) -> None:
    """While the upstream does not take the request, its own deadline runs; the client may not send."""
    deadlines = Deadlines(body_stall_s=LIMITS.body_stall_s * 3)
    proxy = MemoryProxy(dialler, entry(deadlines=deadlines))
    client = proxy.client(UPLOAD % LARGE)
    backend = proxy.accept()
    backend.peer_reads = client.peer_reads = False
    client.deliver(b"x" * PIECE)
    backend.deliver(DOWNLOAD + b"x" * PIECE)
    assert client.is_paused
    client.read_all()
    proxy.advance(LIMITS.body_stall_s + 1)
    assert not client.end
    proxy.advance(deadlines.body_stall_s)
    assert proxy.telemetry.codes == ["timeout"]
    assert client.end == "aborted"
    proxy.assert_nothing_left()


def test_whole_answer_waits_for_a_client_that_does_not_read(proxy: MemoryProxy) -> None:
    """The upstream is free at once; the next request waits until the client has read, or never comes."""
    client = proxy.client(GET)
    client.peer_reads = False
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECE + b"x" * PIECE
    backend = proxy.accept()
    backend.deliver(answer)
    assert proxy.configuration.idle_connection_count == 1
    client.deliver(GET)
    assert backend.received.count(b" HTTP/1.1\r\n") == 1
    client.read_all()
    assert backend.received.count(b" HTTP/1.1\r\n") == 2
    backend.deliver(OK)
    assert client.received == answer + OK
    client.peer_reads = False
    client.deliver(GET)
    backend.deliver(answer)
    proxy.advance(LIMITS.write_stall_s + 1)
    assert client.end == "aborted"
    proxy.assert_nothing_left()


def test_upstream_that_does_not_read_pauses_the_client(proxy: MemoryProxy) -> None:
    """Of 50 MB no more is held than the high-water mark and one read."""
    client = proxy.client(UPLOAD % LARGE)
    backend = proxy.accept()
    backend.peer_reads = False
    for _ in range(LARGE // PIECE):
        client.deliver(b"x" * PIECE)
    assert client.is_paused
    assert backend.most_buffered <= HIGH_WATER_BYTES + PIECE
    backend.read_all()
    proxy.settle()
    assert backend.received.endswith(b"x" * PIECE)
    assert client.unread_bytes == 0
    backend.deliver(OK)
    assert client.received == OK


def test_answer_while_the_upstream_does_not_read_frees_the_client(proxy: MemoryProxy) -> None:
    """The paused client goes on, its rest is dropped, and the clogged connection is not used again."""
    client = proxy.client(UPLOAD % (3 * PIECE))
    backend = proxy.accept()
    backend.peer_reads = False
    for _ in range(3):
        client.deliver(b"x" * PIECE)
    assert client.is_paused
    backend.deliver(OK)
    proxy.settle()
    assert client.unread_bytes == 0
    assert client.received == OK
    assert backend.end == "closed"
    assert proxy.configuration.idle_connection_count == 0


def test_connection_with_unsent_bytes_is_not_used_again(proxy: MemoryProxy) -> None:
    """An upstream that answers before it has read everything would leave the next request behind the rest of this."""
    client = proxy.client(UPLOAD % (2 * PIECE))
    backend = proxy.accept()
    backend.peer_reads = False
    client.deliver(b"x" * 2 * PIECE)
    backend.deliver(OK)
    assert client.received == OK
    assert backend.end == "closed"
    assert proxy.configuration.idle_connection_count == 0


def test_early_large_answer_to_a_client_that_only_sends(proxy: MemoryProxy) -> None:
    """A client that reads nothing before it has sent all does not lock up with the worker."""
    client = proxy.client(POST_5 + b"h")
    client.peer_reads = False
    backend = proxy.accept()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECE + b"x" * PIECE
    backend.deliver(answer)
    client.deliver(b"ello")
    assert client.unread_bytes == 0
    proxy.advance(LIMITS.drain_s + 1)
    assert not client.end
    client.read_all()
    client.deliver(GET)
    proxy.accept().deliver(OK)
    assert client.received == answer + OK


# Draining and reload


def test_drain_closes_idle_connections_and_the_others_after_their_answer(proxy: MemoryProxy) -> None:
    """Idle: now. Waiting: with Connection: close. In the middle of an answer: behind it."""
    idle = proxy.client(GET)
    proxy.accept().deliver(OK)
    midway = proxy.client(GET)
    answering = proxy.dialler.attempts[-1]
    assert answering
    # The idle upstream connection was reused for the second client.
    backend = proxy._transports[1]
    backend.deliver(OK[:-1])
    waiting = proxy.client(GET)
    other = proxy.accept()
    proxy.factory.drain(tunnels_within_s=5)
    assert (idle.end, midway.end, waiting.end) == ("closed", "", "")
    backend.deliver(OK[-1:])
    other.deliver(OK)
    assert (midway.received, midway.end) == (OK, "closed")
    assert waiting.received == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    proxy.configuration.close()
    proxy.assert_nothing_left()


def test_drain_leaves_a_new_connection_its_first_request(proxy: MemoryProxy) -> None:
    """A request that was on its way is answered, with Connection: close; one that never came is not waited for long."""
    prompt, silent = proxy.client(b""), proxy.client(b"")
    proxy.factory.drain(tunnels_within_s=5)
    assert (prompt.end, silent.end) == ("", "")
    prompt.deliver(GET)
    proxy.accept().deliver(OK)
    assert prompt.received == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert prompt.end == "closed"
    proxy.advance(FIRST_REQUEST_S + 0.5)
    assert silent.end == "closed"
    proxy.configuration.close()
    proxy.assert_nothing_left()


def test_a_connection_that_comes_in_while_draining_has_its_first_request(proxy: MemoryProxy) -> None:
    """Its handshake was under way, or it was accepted a moment before; it is not waited for as long as others."""
    proxy.factory.drain(tunnels_within_s=5)
    prompt, silent = proxy.client(GET), proxy.client(b"")
    proxy.accept().deliver(OK)
    assert prompt.received == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    proxy.advance(FIRST_REQUEST_S + 0.5)
    assert silent.end == "closed"
    proxy.configuration.close()
    proxy.assert_nothing_left()


def test_reload_is_seen_by_the_next_request(dialler: Dialler) -> None:
    """The request under way finishes on the old configuration, and its pool retires with it."""
    proxy = MemoryProxy(dialler)
    idle = proxy.client(GET)
    first = proxy.accept()
    client = proxy.client(GET)
    busy = proxy.accept()
    first.deliver(OK)
    assert proxy.configuration.idle_connection_count == 1
    proxy.install(entry(upstream(2)), generation=2)
    proxy.settle()
    assert first.end == "closed"
    busy.deliver(OK)
    proxy.settle()
    assert client.received == OK
    assert busy.end == "closed"
    for other in (client, idle):
        other.deliver(GET)
        proxy.accept().deliver(OK)
    assert [attempt.host for attempt in dialler.attempts] == ["10.0.0.1", "10.0.0.1", "10.0.0.2"] + ["10.0.0.2"] * (
        len(dialler.attempts) - 3
    )


def test_connections_come_and_go_without_leaving_anything(proxy: MemoryProxy) -> None:
    """Whatever became of them, no deadline and no connection is kept."""
    for number in range(20):
        client = proxy.client(GET if number % 3 else POST_5)
        if number % 4 == 0:
            proxy.accept()
        if number % 2:
            client.reset_by_peer()
        else:
            client.close_by_peer()
    proxy.assert_nothing_left()
