"""Settings of a host, made through the API, in its traffic within a second."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import UPSTREAM_NAME, HostDocument
from tests.support.certificates import Authority
from tests.support.instance import Answer, Instance
from tests.support.nginx import Nginx, seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

LIVE_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def other_nginx(
    tmp_path_factory: pytest.TempPathFactory, server_ca: Authority, client_ca: Authority
) -> Iterator[Nginx]:
    """A second one, as strict."""
    directory = tmp_path_factory.mktemp("nginx")
    with Nginx(directory, server=server_ca.server(UPSTREAM_NAME), client_ca_pem=client_ca.pem) as running:
        yield running


class Settings:
    """A host that answers. `put` replaces its whole document by the first one with `changes`."""

    def __init__(self, aegis: Instance, document: dict[str, Any]) -> None:
        self._aegis = aegis
        self._document = document
        self._id = aegis.create_host(**document)["id"]
        self.live(lambda: self.ask().status == 200)

    def put(self, **changes: Any) -> None:
        answer = self._aegis.api("PUT", f"hosts/{self._id}", {**self._document, **changes})
        assert answer.status == 200, answer.body

    def ask(self, method: str = "GET", body: bytes | None = None) -> Answer:
        return self._aegis.proxy(self._document["domains"][0], method=method, body=body)

    def live(self, question: Callable[[], bool]) -> None:
        """Fails unless it comes true within a second."""
        eventually(question, within_s=LIVE_WITHIN_S)

    def ports(self, count: int = 8) -> Counter[int]:
        """How many of some requests went to which nginx."""
        return Counter(int(seen(self.ask().body)["port"]) for _ in range(count))


@pytest.fixture
def settings(aegis: Instance, host_document: HostDocument, client_ca: Authority) -> Settings:
    """Of a host before nginx, with all defaults."""
    return Settings(aegis, host_document(client_ca.client("orders")))


def to(nginx: Nginx, **options: Any) -> dict[str, Any]:
    """An upstream of a document."""
    return {"scheme": "https", "address": "127.0.0.1", "port": nginx.port, **options}


def test_weights_backup_and_drain(settings: Settings, nginx: Nginx, other_nginx: Nginx) -> None:
    """Requests are divided by weight; a backup and a draining upstream get none; what is absent is the default."""
    one, other = nginx.port, other_nginx.port
    settings.put(upstreams=[to(nginx, weight=3), to(other_nginx)])
    settings.live(lambda: settings.ports() == {one: 6, other: 2})
    settings.put(upstreams=[to(nginx, backup=True), to(other_nginx)])
    settings.live(lambda: settings.ports() == {other: 8})
    settings.put(upstreams=[to(nginx), to(other_nginx, drain=True)])
    settings.live(lambda: settings.ports() == {one: 8})
    settings.put(upstreams=[to(nginx), to(other_nginx)])
    settings.live(lambda: settings.ports() == {one: 4, other: 4})


def test_the_way_of_balancing(settings: Settings, nginx: Nginx, other_nginx: Nginx) -> None:
    """With IP hash one client has one upstream; each other way is taken and answers."""
    both = [to(nginx), to(other_nginx)]
    settings.put(upstreams=both, load_balancing="ip_hash")
    settings.live(lambda: len(settings.ports()) == 1)
    for way in ("least_connections", "random_two_choices"):
        settings.put(upstreams=both, load_balancing=way)
        settings.live(lambda: len(settings.ports(32)) == 2)


def test_a_backup_serves_when_the_others_are_gone(
    settings: Settings,
    nginx: Nginx,
    server_ca: Authority,
    client_ca: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Without one failed request: nothing was sent to the one that is not there."""
    directory = tmp_path_factory.mktemp("leaving")
    with Nginx(directory, server=server_ca.server(UPSTREAM_NAME), client_ca_pem=client_ca.pem) as leaving:
        settings.put(upstreams=[to(leaving), to(nginx, backup=True)])
        settings.live(lambda: settings.ports() == {leaving.port: 8})
    assert settings.ports() == {nginx.port: 8}


def test_the_largest_request_body(settings: Settings) -> None:
    """One byte more is 413, whatever the method of sending."""
    settings.put(limits={"max_body_bytes": 10})
    settings.live(lambda: settings.ask("POST", b"x" * 11).status == 413)
    assert settings.ask("POST", b"x" * 10).status == 200
    settings.put()
    settings.live(lambda: settings.ask("POST", b"x" * 11).status == 200)


def test_header_rules_both_ways(settings: Settings) -> None:
    """nginx sees the one, the client the other; without rules all is as before."""
    settings.put(
        request_headers=[{"action": "set", "name": "X-Team", "value": "orders"}],
        response_headers=[
            {"action": "remove", "name": "Server"},
            {"action": "add", "name": "X-Frame-Options", "value": "DENY"},
        ],
    )
    settings.live(lambda: dict(settings.ask().headers).get("X-Frame-Options") == "DENY")
    answer = settings.ask()
    assert seen(answer.body)["team"] == "orders"
    assert "Server" not in dict(answer.headers)
    settings.put()
    settings.live(lambda: "Server" in dict(settings.ask().headers))
    assert seen(settings.ask().body)["team"] == ""


def test_timeouts(settings: Settings) -> None:
    """An upstream that takes the request and says nothing is 504 in the host's time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings.put(
            upstreams=[{"scheme": "http", "address": "127.0.0.1", "port": port}],
            upstream_tls={"enabled": False},
            timeouts={"response_head_s": 0.2},
        )
        settings.live(lambda: settings.ask().status == 504)
