"""One running Aegis, one nginx behind it, and their certificates, shared by all tests of a process.

Laws of the tests here: a test makes hosts of its own and leaves the instance working.
"""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.browser import chromium, opened, signed_in
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Instance
from tests.support.nginx import Nginx

UPSTREAM_NAME = "backend.internal"


@pytest.fixture(scope="session")
def server_ca() -> Authority:
    """Issues the upstreams' certificates."""
    return Authority("Upstream CA")


@pytest.fixture(scope="session")
def client_ca() -> Authority:
    """Issues what the upstreams accept."""
    return Authority("Client CA")


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, server_ca: Authority, client_ca: Authority) -> Iterator[Nginx]:
    """A real nginx that demands a client certificate."""
    directory = tmp_path_factory.mktemp("nginx")
    with Nginx(directory, server=server_ca.server(UPSTREAM_NAME), client_ca_pem=client_ca.pem) as running:
        yield running


@pytest.fixture(scope="session")
def aegis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A whole Aegis, in which all tests together may run more connection tests a minute than one person does."""
    with Instance(tmp_path_factory.mktemp("aegis"), environment={"AEGIS_TESTS_PER_MINUTE": "1000"}) as running:
        yield running


HostDocument = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def host_document(nginx: Nginx, server_ca: Authority) -> HostDocument:
    """Makes the API's document of a host before nginx; without `identity` it presents no certificate."""

    def make(identity: Leaf | None = None, **changes: Any) -> dict[str, Any]:
        name = f"host-{uuid.uuid4().hex[:12]}"
        tls = {"enabled": identity is not None, "ca_certificate": server_ca.pem, "server_name": UPSTREAM_NAME}
        if identity is not None:
            tls |= {"client_certificate": identity.chain_pem, "client_key": identity.key_pem}
        return {
            "name": name,
            "domains": [f"{name}.example.com"],
            "upstreams": [{"scheme": "https", "address": "127.0.0.1", "port": nginx.port}],
            "upstream_tls": tls,
            **changes,
        }

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def administrator(browser: Browser, aegis: Instance) -> Iterator[BrowserContext]:
    """Signed in once for the tests of a file, as people are; what one test leaves in the browser the next one finds."""
    with signed_in(browser, aegis) as context:
        yield context


@pytest.fixture
def page(administrator: BrowserContext) -> Iterator[Page]:
    """The list of hosts. Fails at the end when a script of the admin failed."""
    with opened(administrator, "/admin/hosts/host/", title="Select host to change | Aegis") as page:
        yield page
