"""client_socket: a slow client may be slow, one that stops or trickles may not."""

import io
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from aegis_site.client_socket import MIN_BYTES_PER_S, PATIENCE_S, ClientSocket
from tests.support.polling import eventually


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    client_socket = ClientSocket(fileno=ours.detach())
    with client_socket, theirs:
        theirs.settimeout(10)
        yield client_socket, theirs


def test_a_socket_that_nobody_waits_on_is_never_overdue(pair: tuple[ClientSocket, socket.socket]) -> None:
    """However long the view computes."""
    assert not pair[0].is_overdue(time.monotonic() + 10 * PATIENCE_S)


def test_a_client_that_sends_nothing_is_overdue_after_a_while(pair: tuple[ClientSocket, socket.socket]) -> None:
    """A shutdown then ends the waiting, with an end of the data."""
    ours, _ = pair
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(ours.recv(10)))
    thread.start()
    eventually(lambda: ours.is_overdue(time.monotonic() + PATIENCE_S + 1), within_s=10)
    assert not ours.is_overdue(time.monotonic())
    ours.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert received == [b""]


def test_a_client_that_takes_nothing_is_overdue_after_a_while(pair: tuple[ClientSocket, socket.socket]) -> None:
    """What has no room in the buffers of the kernel waits."""
    ours, _ = pair
    failures: list[OSError] = []

    def send() -> None:
        try:
            ours.sendall(bytes(50_000_000))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    eventually(lambda: ours.is_overdue(time.monotonic() + PATIENCE_S + 1), within_s=10)
    ours.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert [type(failure) for failure in failures] == [BrokenPipeError]


def test_waiting_uses_up_the_budget_and_bytes_refill_it(
    pair: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte in a while does not keep a thread; bytes at the least rate do."""
    ours, theirs = pair
    clock = iter([0.0, 6.0, 6.0, 6.0 + PATIENCE_S / 2])
    monkeypatch.setattr("aegis_site.client_socket.time.monotonic", lambda: next(clock))
    theirs.sendall(b"a")
    ours.recv(10)
    assert ours._left_s == pytest.approx(PATIENCE_S - 6 + 1 / MIN_BYTES_PER_S)
    theirs.sendall(bytes(MIN_BYTES_PER_S))
    ours.recv(MIN_BYTES_PER_S)
    assert ours._left_s == pytest.approx(PATIENCE_S - 6 - PATIENCE_S / 2 + 1, abs=0.01)
    ours.begin()
    assert ours._left_s == PATIENCE_S


def test_a_file_is_sent_as_all_else(pair: tuple[ClientSocket, socket.socket], tmp_path: object) -> None:
    """Static files are sent by `sendfile`."""
    ours, theirs = pair
    assert ours.sendfile(io.BytesIO(b"0123456789"), offset=2, count=5) == 5
    assert theirs.recv(100) == b"23456"
