"""The TLS layer: two of them back to back, and one against a peer that breaks the rules."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from proxyworker.net.tls import SessionTruncated, TLSLayer
from tests.proxyworker.net.memory import HIGH_WATER_BYTES, MemoryTransport
from tests.support.certificates import Authority
from tests.support.tls_server import accepting, server_context
from upstream_tls.tls.context import ClientContext, build_context
from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.tls.spec import UpstreamTLSSpec

CA = Authority()
LEAF = CA.server("app.internal")
SIZES = [0, 1, 5, 16_383, 16_384, 16_385, 65_536, 200_000]


# Two layers


class Recorder(Protocol):
    """What is above a layer: keeps what it is told."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.reads = 0
        self.lost: Failure | None = None
        self.is_made = False
        self.log: list[str] = []

    def connectionMade(self) -> None:
        self.is_made = True
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        assert data
        self.reads += 1
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert self.lost is None
        self.lost = reason

    def pauseProducing(self) -> None:
        self.log.append("pause")

    def resumeProducing(self) -> None:
        self.log.append("resume")


class Side:
    """A layer, what is above it and what is below it."""

    def __init__(
        self, session: SSL.Connection, established: Callable[[], None] = lambda: None, *, shares_memory: bool = False
    ) -> None:
        self.above = Recorder()
        self.failures: list[TLSLayer] = []
        self.layer = TLSLayer(session, self.above, established=established, failed=self.failures.append)
        self.below = MemoryTransport(self.layer, shares_memory=shares_memory)
        self.sent = 0

    def start(self) -> None:
        self.layer.makeConnection(self.below)


class Pair:
    """A client and a server; `pump` carries the bytes between them in pieces of `piece` bytes."""

    def __init__(self, context: ClientContext, theirs: SSL.Context, *, piece: int = 65_536, name: str = "app.internal"):
        self.context = context
        self.session = context.open(name)
        self.client = Side(self.session, lambda: context.confirm(self.session), shares_memory=True)
        self.server = Side(accepting(theirs))
        self._piece = piece
        self.server.start()
        self.client.start()
        self.pump()

    def pump(self) -> None:
        sides = (self.client, self.server)
        moved = True
        while moved:
            moved = any([side.below.settle() for side in sides])
            for side, other in (sides, sides[::-1]):
                received = side.below.received
                if len(received) > side.sent and not other.below.is_lost:
                    piece = received[side.sent : side.sent + self._piece]
                    side.sent += len(piece)
                    other.below.deliver(piece)
                    moved = True
                elif side.below.is_lost and not other.below.is_lost and len(received) == side.sent:
                    other.below.close_by_peer()
                    moved = True

    def explain(self) -> Diagnosis:
        """What the client's failed layer tells."""
        [layer] = self.client.failures
        return self.context.explain(layer.session, first_bytes=layer.first_bytes, peer_closed=layer.peer_closed)


@pytest.fixture(scope="module")
def context() -> ClientContext:
    """A client that trusts the CA."""
    return build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode()))


@pytest.fixture(scope="module", params=[SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
def theirs(request: pytest.FixtureRequest) -> SSL.Context:
    """A server of one version."""
    made = server_context(LEAF)
    made.set_max_proto_version(request.param)
    made.set_min_proto_version(request.param)
    return made


@pytest.mark.parametrize("piece", [1, 7, 1000, 16_401, 65_536])
def test_handshake_at_any_split(context: ClientContext, theirs: SSL.Context, piece: int) -> None:
    """Both protocols are connected once, and nobody failed."""
    pair = Pair(context, theirs, piece=piece)
    assert pair.client.above.is_made
    assert pair.server.above.is_made
    assert pair.client.failures == pair.server.failures == []
    assert pair.client.layer.first_bytes[:1] == b"\x16"


@pytest.mark.parametrize("piece", [997, 16_401, 65_537, 300_000])
@pytest.mark.parametrize("size", SIZES[1:])
def test_data_both_ways(context: ClientContext, theirs: SSL.Context, size: int, piece: int) -> None:
    """What is written on one side is read on the other, whatever the size and the splits."""
    pair = Pair(context, theirs, piece=piece)
    data = bytes(range(256)) * (size // 256 + 1)
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        sender.layer.write(data[:size])
        sender.layer.writeSequence([b"!", b"?"])
        pair.pump()
        assert receiver.above.received == data[:size] + b"!?"


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.sampled_from(SIZES[1:]), min_size=1, max_size=4),
    piece=st.integers(min_value=200, max_value=70_000),
)
def test_any_mix_of_writes(sizes: list[int], piece: int) -> None:
    """Writes from both sides, in the air at the same time."""
    pair = Pair(build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode())), server_context(LEAF), piece=piece)
    for size in sizes:
        pair.client.layer.write(b"c" * size)
        pair.server.layer.write(b"s" * size)
    pair.pump()
    assert pair.server.above.received == b"c" * sum(sizes)
    assert pair.client.above.received == b"s" * sum(sizes)


def test_data_right_behind_the_handshake(context: ClientContext, theirs: SSL.Context) -> None:
    """What arrives in one read with the handshake's last record is not left lying in the layer."""
    pair = Pair(context, theirs, piece=1_000_000)
    assert pair.server.above.is_made
    client = context.open("app.internal")
    server = Side(accepting(theirs))
    server.start()
    for _ in range(3):
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        else:
            client.send(b"early")
        try:
            server.below.deliver(client.bio_read(65_536))
        except SSL.WantReadError:
            break
        if server.below.received[server.sent :]:
            client.bio_write(server.below.received[server.sent :])
            server.sent = len(server.below.received)
    assert server.above.received.startswith(b"early")


def test_one_read_of_many_records_is_one_event(context: ClientContext, theirs: SSL.Context) -> None:
    """The protocol above is called once for what came at once."""
    pair = Pair(context, theirs, piece=1_000_000)
    pair.client.layer.write(b"x" * 100_000)
    pair.pump()
    assert (pair.server.above.reads, len(pair.server.above.received)) == (1, 100_000)


# Ends


def test_close_notify_is_a_clean_end(context: ClientContext, theirs: SSL.Context) -> None:
    """All data arrives first, then ConnectionDone, on both sides."""
    pair = Pair(context, theirs)
    pair.server.layer.write(b"x" * 50_000)
    pair.server.layer.loseConnection()
    pair.server.layer.write(b"dropped")
    pair.pump()
    assert len(pair.client.above.received) == 50_000
    for side in (pair.client, pair.server):
        assert side.above.lost is not None
        assert side.above.lost.check(ConnectionDone)


def test_end_without_close_notify_is_a_cut_off(context: ClientContext, theirs: SSL.Context) -> None:
    """An attacker can end a TCP connection, but not a session (RFC 8446 section 6.1)."""
    pair = Pair(context, theirs)
    pair.server.layer.write(b"half")
    pair.server.layer.abortConnection()
    pair.pump()
    assert pair.client.above.received == b"half"
    assert pair.client.above.lost is not None
    assert pair.client.above.lost.check(SessionTruncated)


def test_half_close(context: ClientContext, theirs: SSL.Context) -> None:
    """The peer sees a clean end; what it sends meanwhile, good or broken, is dropped without an answer."""
    pair = Pair(context, theirs)
    pair.client.layer.write(b"in the air")
    pair.server.layer.write(b"refused")
    pair.server.layer.loseWriteConnection()
    pair.server.layer.write(b"dropped")
    pair.server.layer.loseWriteConnection()
    pair.server.layer.dataReceived(b"\x17\x03\x03\x00\x05hello")
    assert pair.server.below.end == "half-closed"
    pair.pump()
    assert pair.client.above.received == b"refused"
    assert pair.client.above.lost is not None
    assert pair.client.above.lost.check(ConnectionDone)
    assert pair.server.above.received == b""
    assert pair.server.above.lost is not None


def test_close_behind_the_end_of_the_own_half(context: ClientContext, theirs: SSL.Context) -> None:
    """Closes the stream below; there is no second close_notify, for which there is no way any more."""
    pair = Pair(context, theirs)
    pair.server.layer.loseWriteConnection()
    sent = pair.server.below.received
    pair.server.layer.loseConnection()
    assert pair.server.below.disconnecting
    pair.pump()
    assert pair.server.below.received == sent
    assert pair.server.above.lost is not None
    assert pair.client.above.lost is not None
    assert pair.client.above.lost.check(ConnectionDone)


class HalfCloseable(Recorder):
    """A protocol that goes on when its peer has said all."""

    def readConnectionLost(self) -> None:
        self.log.append("half-closed")


def test_close_notify_ends_one_half(context: ClientContext, theirs: SSL.Context) -> None:
    """RFC 8446 section 6.1: what comes behind it is ignored and the other direction goes on, until this end ends it."""
    pair = Pair(context, theirs)
    pair.server.above.__class__ = HalfCloseable
    pair.client.layer.write(b"question")
    pair.session.shutdown()
    pair.client.layer._flush()
    pair.pump()
    pair.server.layer.dataReceived(b"\x17\x03\x03\x00\x05hello")
    pair.server.below.half_close_by_peer()
    assert pair.server.above.received == b"question"
    assert pair.server.above.log == ["half-closed"]
    assert not pair.server.below.end
    pair.server.layer.write(b"answer")
    pair.server.layer.loseConnection()
    pair.pump()
    assert pair.client.above.received == b"answer"
    assert pair.server.above.lost is not None
    assert pair.server.above.lost.check(ConnectionDone)


def test_end_of_the_stream_without_close_notify_is_the_end(context: ClientContext, theirs: SSL.Context) -> None:
    """Known at once, before the stream is gone: nothing may be begun on such a session. It is no clean end."""
    pair = Pair(context, theirs)
    pair.server.above.__class__ = HalfCloseable
    pair.server.below.half_close_by_peer()
    assert pair.server.layer.disconnecting
    assert pair.server.layer.peer_closed
    pair.pump()
    assert pair.server.above.log == []
    assert pair.server.above.lost is not None
    assert pair.server.above.lost.check(SessionTruncated)


def test_end_of_the_stream_behind_our_own_end(context: ClientContext, theirs: SSL.Context) -> None:
    """What was refused is closed as soon as the peer closes, with or without close_notify."""
    for says_so in (True, False):
        pair = Pair(context, theirs)
        pair.server.above.__class__ = HalfCloseable
        pair.server.layer.loseWriteConnection()
        if says_so:
            pair.session.shutdown()
            pair.client.layer._flush()
        pair.server.below.half_close_by_peer()
        assert pair.server.below.end == "closed"


def test_a_broken_record_breaks_the_session(context: ClientContext, theirs: SSL.Context) -> None:
    """Nothing is written any more, and no exception reaches who writes."""
    pair = Pair(context, theirs)
    pair.client.below.deliver(b"\x17\x03\x03\x00\x05hello")
    pair.client.layer.write(b"too late")
    pair.client.layer.loseConnection()
    pair.client.layer.loseWriteConnection()
    pair.pump()
    assert pair.client.below.end == "aborted"
    assert pair.client.above.lost is not None
    assert pair.client.above.lost.type is ConnectionLost
    assert pair.client.above.received == b""


def test_rejection_by_the_server_after_the_handshake(context: ClientContext) -> None:
    """TLS 1.3: the verdict on our certificate arrives with the first read, and writing before that does no harm."""
    pair = Pair(context, server_context(LEAF, client_ca_pem=CA.pem))
    pair.client.layer.write(b"GET / HTTP/1.1\r\n\r\n")
    pair.pump()
    assert pair.server.above.received == b""
    assert pair.client.above.lost is not None
    assert pair.client.above.lost.check(ConnectionLost)
    assert pair.context.explain(pair.session, first_bytes=b"\x16", peer_closed=True).code == (
        "client_certificate_required"
    )


# Failures of the handshake


def test_failed_verification_is_reported_once(context: ClientContext, theirs: SSL.Context) -> None:
    """With its diagnosis; the server hears our alert, and nothing above is connected."""
    pair = Pair(context, theirs, name="other.internal")
    diagnosis = pair.explain()
    assert diagnosis.code == "name_mismatch"
    assert diagnosis.message == "x509: certificate is valid for app.internal, not other.internal"
    assert not pair.client.above.is_made
    assert pair.client.above.lost is None
    assert pair.client.below.end == "closed"
    if pair.server.failures:
        assert not pair.server.above.is_made


def test_refusal_by_established(theirs: SSL.Context) -> None:
    """Whatever `established` raises refuses the peer, before anything above is connected or written."""

    def refuse() -> None:
        raise RuntimeError("no")

    context = build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode()))
    client, server = Side(context.open("app.internal"), refuse), Side(accepting(theirs))
    server.start()
    client.start()
    for _ in range(6):
        for side, other in ((client, server), (server, client)):
            data = side.below.received[side.sent :]
            side.sent += len(data)
            if data and not other.below.is_lost:
                other.below.deliver(data)
    assert client.failures == [client.layer]
    assert not client.above.is_made
    assert client.below.end == "closed"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not_tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "handshake_failure"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "protocol_version"),
        (b"", "connection_closed"),
    ],
)
def test_peers_that_do_not_shake_hands(context: ClientContext, answer: bytes, code: str) -> None:
    """Reported once, also when the connection then ends."""
    session = context.open("app.internal")
    client = Side(session)
    client.start()
    if answer:
        client.below.deliver(answer)
    if not client.below.is_lost:
        client.below.close_by_peer()
    [layer] = client.failures
    assert context.explain(session, first_bytes=layer.first_bytes, peer_closed=layer.peer_closed).code == code
    client.layer.dataReceived(b"late")
    assert len(client.failures) == 1


def test_an_exception_of_a_callback_fails_the_handshake(theirs: SSL.Context) -> None:
    """It does not escape into the loop."""

    def broken(*_: object) -> bytes:
        raise RuntimeError("callback")

    server_side = server_context(LEAF)
    server_side.set_alpn_select_callback(broken)
    pair = Pair(build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode())), server_side)
    assert len(pair.server.failures) == 1
    assert len(pair.client.failures) == 1


# Back-pressure


def test_back_pressure_passes_through(context: ClientContext, theirs: SSL.Context) -> None:
    """A full buffer below pauses the producer above; pausing above pauses the stream below."""
    pair = Pair(context, theirs)
    pair.client.below.peer_reads = False
    pair.client.layer.write(b"x" * (HIGH_WATER_BYTES + 1))
    assert pair.client.above.log == ["pause"]
    pair.client.below.read_all()
    assert pair.client.above.log == ["pause", "resume"]
    pair.server.layer.pauseProducing()
    pair.pump()
    assert pair.server.above.received == b""
    pair.server.layer.resumeProducing()
    pair.pump()
    assert len(pair.server.above.received) == HIGH_WATER_BYTES + 1


def test_addresses_are_those_below(context: ClientContext, theirs: SSL.Context) -> None:
    """The peer is the peer of the stream."""
    pair = Pair(context, theirs)
    assert pair.client.layer.getPeer() == pair.client.below.getPeer()
    assert pair.client.layer.getHost() == pair.client.below.getHost()
