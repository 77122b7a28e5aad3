"""Client connections of trusted proxies: each request has its own client, scheme, host and id."""

import pytest

from proxyworker.policy.trusted_proxies import TrustedProxies
from proxyworker.snapshot import DownstreamTLS
from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry
from tests.support.certificates import Authority

# The peer of a MemoryTransport is 192.0.2.7.
TRUSTED = TrustedProxies(["192.0.2.0/24"])


def get(*fields: bytes) -> bytes:
    """GET with further field lines."""
    return GET[:-2] + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def last_head(received: bytes) -> list[bytes]:
    """The lines of the last request that an upstream got."""
    return received.rstrip(b"\r\n").rpartition(b"\r\n\r\n")[2].split(b"\r\n")


@pytest.fixture
def trusting(dialler: Dialler) -> MemoryProxy:
    """A data plane that trusts its peer."""
    return MemoryProxy(dialler, trusted=TRUSTED)


def test_each_request_has_its_own_client(trusting: MemoryProxy) -> None:
    """Nothing of one request's client is left in the next one on the connection."""
    client = trusting.client(get(b"X-Forwarded-For: 198.51.100.1", b"X-Forwarded-Proto: https", b"X-Request-ID: abc"))
    connection = client.protocol
    backend = trusting.accept()
    lines = last_head(backend.received)
    assert b"X-Forwarded-For: 198.51.100.1, 192.0.2.7" in lines
    assert b"X-Forwarded-Proto: https" in lines
    assert b"X-Request-ID: abc" in lines
    assert (connection.client.address, connection.client.is_https) == ("198.51.100.1", True)  # type: ignore[attr-defined]
    backend.deliver(OK)
    client.deliver(GET)
    lines = last_head(backend.received)
    assert b"X-Forwarded-For: 192.0.2.7" in lines
    assert b"X-Forwarded-Proto: http" in lines
    assert b"X-Request-ID: test-00000002" in lines
    assert (connection.client.address, connection.client.is_https) == ("192.0.2.7", False)  # type: ignore[attr-defined]


def test_a_broken_request_has_nobody_elses_client(trusting: MemoryProxy) -> None:
    """It was refused before anything in it was believed; the request before was another client's."""
    client = trusting.client(get(b"X-Forwarded-For: 198.51.100.1"))
    trusting.accept().deliver(OK)
    client.deliver(GET.replace(b"app.test", b"a b"))
    assert trusting.telemetry.refusals == [400]
    assert client.protocol.client.address == "192.0.2.7"  # type: ignore[attr-defined]


def test_a_stranger_is_not_believed(dialler: Dialler) -> None:
    """Its forwarding fields are replaced, its request id too."""
    proxy = MemoryProxy(dialler, trusted=TrustedProxies(["10.0.0.0/8"]))
    client = proxy.client(get(b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Proto: https", b"X-Request-ID: abc"))
    lines = last_head(proxy.accept().received)
    assert b"X-Forwarded-For: 192.0.2.7" in lines
    assert b"X-Forwarded-Proto: http" in lines
    assert b"X-Request-ID: test-00000001" in lines
    assert client.protocol.client.address == "192.0.2.7"  # type: ignore[attr-defined]


def test_own_answers_have_the_proxys_request_id(trusting: MemoryProxy) -> None:
    """So that it can be found in the proxy's log."""
    client = trusting.client(get(b"X-Request-ID: abc").replace(b"app.test", b"no.test"))
    assert b"\r\nX-Request-ID: abc\r\n" in client.received
    assert client.received.endswith(b"request id: abc\n")


def test_force_https_behind_a_tls_terminator(dialler: Dialler) -> None:
    """A client that came by HTTPS is served, with HSTS; it used to be redirected to where it came from, for ever."""
    leaf = Authority("CA").server("app.test")
    tls = DownstreamTLS(certificate=leaf.chain_pem, force_https=True, hsts_max_age_s=600)
    proxy = MemoryProxy(dialler, trusted=TRUSTED)
    proxy.install(entry(downstream_tls=tls), generation=2, downstream_key_pem=leaf.key_pem.encode())
    client = proxy.client(get(b"X-Forwarded-Proto: https"))
    proxy.accept().deliver(OK)
    assert b"\r\nStrict-Transport-Security: max-age=600\r\n" in client.received
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")

    told = proxy.client(get(b"X-Forwarded-Proto: http", b"X-Forwarded-Host: site.test:80"))
    assert told.received.startswith(b"HTTP/1.1 308 ")
    assert b"\r\nLocation: https://site.test/\r\n" in told.received
    untold = proxy.client(GET)
    assert b"\r\nLocation: https://app.test:8443/\r\n" in untold.received
    assert b"Strict-Transport-Security" not in told.received + untold.received
