"""The world that generated requests meet, and who sends them."""

import dataclasses
import datetime
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from hosts import connection_test_run
from hosts.exchange import sealing
from hosts.models import ProxyWorker
from hosts.rotation import probing
from localca import encrypted_keys, keys
from localca.services import ensure_authority
from tests.healthchecks.examples import checked
from tests.hosts.examples import make_host, mtls, site
from tests.support.api_cases import KNOWN
from tests.support.ports import free_port
from tests.support.roles import ROLES, user_of
from tests.support.saved_database import SavedDatabase
from tests.support.tokens import bearer, token_of
from upstream_tls.tls.probe import probe

Headers = dict[str, str]


@dataclasses.dataclass(frozen=True)
class World:
    """Something of everything that can be asked for, and a user of each role."""

    saved: SavedDatabase
    headers: dict[str, Headers]


@pytest.fixture(scope="package")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Made once, committed: requests change data for real, and tests of connections are queued on commit."""
    with django_db_blocker.unblock():
        empty = SavedDatabase()
        ensure_authority()
        check: dict[str, Any] = {"enabled": True}
        host = make_host("orders", upstream_tls=mtls(), downstream_tls=site(), sections={"health_check": check})
        for minutes, is_ok in ((50, True), (40, True), (30, False), (20, False), (10, False)):
            checked(timezone.now() - datetime.timedelta(minutes=minutes), is_ok=is_ok)
        for _, some_id in KNOWN.values():
            some_id()
        ProxyWorker.objects.create(worker_id="here", rejected={str(host.pk): "why"}, last_seen_at=host.created_at)
        headers = {role: bearer(token_of(user_of(role))) for role in ROLES}
        world = World(SavedDatabase(), headers)
        yield world
        empty.put_back()
        for saved in (empty, world.saved):
            saved.close()


@pytest.fixture
def transactional_db(world: World) -> None:
    """In place of pytest-django's, which empties the database: as it was in the beginning, whatever was done to it."""
    world.saved.put_back()


@pytest.fixture
def administrator(world: World, ready: None) -> Headers:
    return world.headers["administrator"]


@pytest.fixture
def operator(world: World, ready: None) -> Headers:
    return world.headers["operator"]


@pytest.fixture
def viewer(world: World, ready: None) -> Headers:
    return world.headers["viewer"]


@pytest.fixture
def ready(transactional_db: None, only_loopback: None, fast_sealing: None) -> None:
    """Requests can be sent."""


@pytest.fixture
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of connections go to a port of this machine where nobody listens, whatever address was generated.

    No name is looked up, and a second guard refuses every address that is not this machine's, should anything else want
    to connect.
    """
    free = free_port()

    def probe_here(spec: Any, target: Any, **options: Any) -> Any:
        return probe(spec, dataclasses.replace(target, address="127.0.0.1", port=free), **options)

    def found_here(host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", free))]

    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), address
        connect(self, address)

    monkeypatch.setattr(connection_test_run, "probe", probe_here)
    monkeypatch.setattr(probing, "probe", probe_here)
    monkeypatch.setattr(socket, "getaddrinfo", found_here)
    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def fast_sealing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase costs a third of a second by design, and here come many."""
    monkeypatch.setattr(sealing, "_SCRYPT_N", 2)
    monkeypatch.setattr(keys, "ROUNDS", 2)
    monkeypatch.setattr(encrypted_keys, "ROUNDS", 2)
