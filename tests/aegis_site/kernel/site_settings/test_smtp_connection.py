"""One SMTP connection: its deadline, its addresses, and how much is read."""

import socket
import threading
import time

import pytest

from aegis_site.kernel.site_settings import smtp_connection
from aegis_site.kernel.site_settings.smtp_connection import Conversation, Deadline, TooMuchSaid, connect, look_up
from tests.support.ports import free_port


def test_a_deadline() -> None:
    """Something is left until it is over; then nobody waits."""
    assert 0 < Deadline(60).remaining_s() <= 60
    over = Deadline(-1)
    assert over.is_over
    with pytest.raises(TimeoutError):
        over.remaining_s()


def test_an_address_that_swallows_packets() -> None:
    """Of several addresses a dead one leaves time for the others."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_server(("127.0.0.1", 0)) as alive:
        # Its queue is full, so the kernel drops what else arrives.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        addresses = [(int(socket.AF_INET), server.getsockname()) for server in (full, alive)]
        with connect(addresses, Deadline(4)) as connection:
            assert connection.getpeername() == alive.getsockname()
        for one in waiting:
            one.close()


def test_no_address_answers() -> None:
    """The last refusal is what is told."""
    with pytest.raises(ConnectionRefusedError):
        connect([(int(socket.AF_INET), ("127.0.0.1", free_port()))] * 2, Deadline(20))


def test_looking_up() -> None:
    """Each address once."""
    assert look_up("127.0.0.1", 25, Deadline(20)) == [(socket.AF_INET, ("127.0.0.1", 25))]
    for name in ("mail.invalid", "a" * 64 + ".example.com"):
        with pytest.raises(socket.gaierror):
            look_up(name, 25, Deadline(20))


def test_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up is left behind at the deadline."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(60) and [])
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            look_up("mail.example.com", 25, Deadline(0.2))
        assert time.monotonic() - begun < 20
    finally:
        release.set()


def test_how_a_client_names_itself() -> None:
    """By the address literal of its end of the connection (RFC 5321 section 4.1.3)."""

    class Ended:
        def __init__(self, address: str) -> None:
            self._address = address

        def getsockname(self) -> tuple[str, int]:
            return self._address, 25

    assert smtp_connection._literal(Ended("192.0.2.1")) == "[192.0.2.1]"  # type: ignore[arg-type]
    assert smtp_connection._literal(Ended("fe80::1%eth0")) == "[IPv6:fe80::1]"  # type: ignore[arg-type]


def test_how_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a conversation can need is an end without end."""
    monkeypatch.setattr(smtp_connection, "MAX_ANSWER_BYTES", 20)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far = listening.accept()[0]
    with near, far:
        client = Conversation(near, Deadline(20))
        far.sendall(b"220 " + b"x" * 40 + b"\r\n")
        with pytest.raises(OSError, match="unexpectedly closed") as raised:
            client.getreply()
        assert isinstance(raised.value.__context__, TooMuchSaid)
