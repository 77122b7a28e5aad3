"""The record layer: two sessions that have shaken hands, and what they make of each other's records."""

import contextlib
import resource
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from proxyworker.net.records import MAX_PLAINTEXT_BYTES, End, Records
from tests.support.certificates import Authority
from tests.support.tls_server import accepting, server_context
from upstream_tls.tls.context import ClientContext, build_context
from upstream_tls.tls.spec import UpstreamTLSSpec

CA = Authority()
SERVER = server_context(CA.server("app.internal"))
CLIENT = build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode()))

EDGES = [1, 5, MAX_PLAINTEXT_BYTES - 1, MAX_PLAINTEXT_BYTES, MAX_PLAINTEXT_BYTES + 1, 65_536, 262_144, 700_000]


def sessions(client: ClientContext = CLIENT, server: SSL.Context = SERVER) -> tuple[SSL.Connection, SSL.Connection]:
    """Client and server, their handshake finished and nothing left between them."""
    pair = (client.open("app.internal"), accepting(server))
    for _ in range(4):
        for one, other in (pair, pair[::-1]):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            if pending := Records(one).pending():
                other.bio_write(pending)
    return pair


def established() -> tuple[Records, Records]:
    """The records of both."""
    client, server = (Records(session) for session in sessions())
    assert client.open(b"") == b""  # the tickets
    return client, server


@pytest.mark.parametrize("size", EDGES)
def test_what_is_sealed_opens(size: int) -> None:
    """All of it, in order, in one go."""
    client, server = established()
    data = bytes(range(256)) * (size // 256 + 1)
    assert server.open(client.seal(data[:size])) == data[:size]
    assert client.open(server.seal(data[:size])) == data[:size]
    assert client.end is server.end is None


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.sampled_from(EDGES[:6]), min_size=1, max_size=4),
    pieces=st.lists(st.integers(1, 70_000), max_size=9),
)
def test_records_open_however_they_are_cut(sizes: list[int], pieces: list[int]) -> None:
    """A piece gives what it completes; what is left over waits."""
    client, server = established()
    plain = b"".join(bytes([number % 256]) * size for number, size in enumerate(sizes))
    sealed = b"".join(client.seal(bytes([number % 256]) * size) for number, size in enumerate(sizes))
    opened = b""
    for piece in [*pieces, len(sealed)]:
        opened += server.open(sealed[:piece])
        sealed = sealed[piece:]
    assert opened == plain
    assert server.end is None


def test_close_notify_ends_in_order_behind_the_data() -> None:
    """What was sent before is still opened."""
    pair = sessions()
    client, server = (Records(session) for session in pair)
    sealed = client.seal(b"last words")
    pair[0].shutdown()
    assert server.open(sealed + client.pending()) == b"last words"
    assert server.end is End.CLOSED


@pytest.mark.parametrize("size", [100, 100_000])
def test_garbage_breaks_the_session_and_no_other(size: int) -> None:
    """The data before it is opened; OpenSSL has an alert to send; another session is not told of the error."""
    client, server = established()
    others = established()
    sealed = client.seal(b"x" * size)
    assert server.open(sealed + b"\x17\x03\x03\x00\x20" + b"\0" * 32) == b"x" * size
    assert server.end is End.BROKEN
    assert server.pending()[:1] in (b"\x15", b"\x17")
    assert others[1].open(others[0].seal(b"hello")) == b"hello"
    assert others[1].end is None


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_session_that_was_shut_down_takes_no_more(size: int) -> None:
    """Writing then breaks it, and leaves no error for another session."""
    pair = sessions()
    client = Records(pair[0])
    pair[0].shutdown()
    client.pending()
    assert client.seal(b"x" * size) == b""
    assert client.end is End.BROKEN
    first, second = established()
    assert second.open(first.seal(b"hello")) == b"hello"
    assert second.end is None


def resident_bytes() -> int:
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_message_leaves_no_large_buffer() -> None:
    """OpenSSL's memory BIOs never shrink, so they never grow to more than a record or two."""
    pairs = [established() for _ in range(50)]
    before_bytes = resident_bytes()
    for client, server in pairs:
        server.open(client.seal(b"x" * 1_000_000))
    # Grown to the message, the two BIOs of each pair would keep more than 2 MB.
    assert resident_bytes() - before_bytes < len(pairs) * 200_000
