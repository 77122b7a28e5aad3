"""TLS sessions under random events: ends of all kinds, and bytes that are changed on their way.

Laws of this module: a run is told by its seed alone, but for what OpenSSL draws itself.
"""

from random import Random

import pytest
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from tests.proxyworker.net.test_tls import CA, LEAF, HalfCloseable, Side
from tests.support.tls_server import accepting, server_context
from upstream_tls.tls.context import ClientContext, build_context
from upstream_tls.tls.spec import UpstreamTLSSpec

SEEDS = range(150)
EVENTS = 60

_first_error = Binding().lib.ERR_peek_error


@pytest.fixture(scope="module")
def clients() -> list[ClientContext]:
    """Three times one that trusts the server, and one that does not."""
    return [build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode()))] * 3 + [build_context(UpstreamTLSSpec())]


@pytest.fixture(scope="module")
def servers() -> list[SSL.Context]:
    """One of each version, and one that asks for a certificate that nobody has."""
    made = []
    for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
        context = server_context(LEAF)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        made.append(context)
    return [*made, server_context(LEAF, client_ca_pem=CA.pem)]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_always_holds(seed: int, clients: list[ClientContext], servers: list[SSL.Context]) -> None:
    """Nothing is raised, nobody both fails and begins, and OpenSSL's error queue is empty for the next session."""
    random = Random(seed)
    context = random.choice(clients)
    session = context.open(random.choice(("app.internal", "app.internal", "other.internal")))
    client, server = Side(session, lambda: context.confirm(session)), Side(accepting(random.choice(servers)))
    if random.random() < 0.5:
        server.above.__class__ = HalfCloseable
    server.start()
    client.start()
    if random.random() < 0.8:
        for _ in range(6):
            carry(client, server, None)
            carry(server, client, None)
    for _ in range(EVENTS):
        happen(random, *random.choice(((client, server), (server, client))))
        assert _first_error() == 0
        for side in (client, server):
            side.below.settle()
            assert _first_error() == 0
    for side in (client, server):
        assert len(side.failures) <= 1
        assert not (side.failures and side.above.is_made)


def happen(random: Random, side: Side, other: Side) -> None:
    """One event at `side`."""
    chance = random.random()
    if chance < 0.6:
        carry(side, other, random)
    elif side.below.is_lost:
        return
    elif chance < 0.91:
        if not side.above.is_made:
            return
        if chance < 0.84:
            side.layer.write(b"x" * random.choice((1, 100, 20_000, 300_000)))
        elif chance < 0.875:
            side.layer.loseConnection()
        else:
            side.layer.loseWriteConnection()
    elif chance < 0.915 and not side.below.unread_bytes:
        side.below.half_close_by_peer()
    elif chance < 0.92:
        side.below.reset_by_peer()
    elif chance < 0.925:
        side.layer.abortConnection()


def carry(sender: Side, receiver: Side, random: Random | None) -> None:
    """What `sender` wrote goes to `receiver`: all of it, or with `random` a piece, which may have changed."""
    data = sender.below.received[sender.sent :]
    if random is not None:
        data = data[: random.choice((1, 50, 5000, 70_000))]
    sender.sent += len(data)
    if not data or receiver.below.is_lost:
        return
    if random is not None and random.random() < 0.15:
        position = random.choice((0, random.randrange(len(data))))
        data = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
    receiver.below.deliver(data)
