"""TLS towards clients."""

import contextlib
import datetime
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.protocol import Protocol

from proxyworker.net.downstream_tls import TLSFactory
from proxyworker.net.server_certificate import DEFAULT_COMMON_NAME
from proxyworker.net.tls import TLSLayer
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.snapshot import DownstreamTLS, HostEntry
from tests.proxyworker.net.memory import Dialler, MemoryTransport
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry
from tests.support.certificates import Authority, Leaf
from tests.support.tls_server import drain
from upstream_tls.tls.context import build_context
from upstream_tls.tls.spec import UpstreamTLSSpec

NOW = datetime.datetime.now(datetime.UTC)
LIMITS = DownstreamLimits()


class Browser:
    """A client that accepts any certificate and asks for `name`, an address for none."""

    def __init__(self, proxy: MemoryProxy, name: str = "app.test", tls_version: str = "TLSv1.3") -> None:
        layer = TLSFactory(proxy.factory, NOW).buildProtocol(None)
        assert isinstance(layer, TLSLayer)
        self.transport = MemoryTransport(layer)
        layer.makeConnection(self.transport)
        spec = UpstreamTLSSpec(skip_verify=True, min_version=tls_version, max_version=tls_version)
        self.session = build_context(spec).open(name)
        self.received = b""
        self.closed = False
        self._is_established = False
        self._seen = 0

    def shake_hands(self) -> None:
        for _ in range(4):
            try:
                self.session.do_handshake()
                self._is_established = True
            except SSL.WantReadError:
                pass
            self.exchange()

    def send(self, data: bytes) -> None:
        self.session.send(data)
        self.exchange()

    def exchange(self) -> None:
        if (data := drain(self.session)) and not self.transport.is_lost:
            self.transport.deliver(data)
        news = self.transport.received[self._seen :]
        self._seen += len(news)
        if news:
            self.session.bio_write(news)
        try:
            while self._is_established and not self.closed:
                self.received += self.session.recv(65_536)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True


def test_requests_over_tls(proxy: MemoryProxy) -> None:
    """As on http, with close_notify at a clean end."""
    browser = Browser(proxy)
    browser.shake_hands()
    assert len(proxy.factory.connections) == 1
    browser.send(GET)
    backend = proxy.accept()
    assert b"X-Forwarded-For: 192.0.2.7\r\n" in backend.received
    backend.deliver(OK)
    browser.exchange()
    assert browser.received == OK
    proxy.advance(LIMITS.keep_alive_s + 1)
    browser.exchange()
    assert browser.closed
    browser.transport.settle()
    proxy.configuration.close()
    proxy.assert_nothing_left()


def test_close_notify_behind_the_request_leaves_the_answer(proxy: MemoryProxy) -> None:
    """RFC 8446 section 6.1: it ends one direction; in the same read as the request too, and with the stream below."""
    browser = Browser(proxy)
    browser.shake_hands()
    browser.session.send(GET + GET)
    browser.session.shutdown()
    browser.exchange()
    browser.transport.half_close_by_peer()
    backend = proxy.accept()
    backend.deliver(OK)
    backend.deliver(OK)
    browser.exchange()
    assert browser.received == OK + OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert browser.closed
    browser.transport.settle()
    proxy.configuration.close()
    proxy.assert_nothing_left()


def test_cut_off_behind_the_request_cancels_it(proxy: MemoryProxy) -> None:
    """A client that ends its connection without close_notify is gone."""
    browser = Browser(proxy)
    browser.shake_hands()
    browser.send(GET)
    backend = proxy.accept()
    browser.transport.half_close_by_peer()
    browser.transport.settle()
    assert backend.end == "aborted"
    assert proxy.telemetry.answers == [("app.test", 499)]


def test_refusal_over_tls_reaches_the_client(proxy: MemoryProxy) -> None:
    """The status and a clean end, although more is on its way in."""
    browser = Browser(proxy)
    browser.shake_hands()
    browser.send(b"GET / HTTP/1.1\r\n\r\n")
    browser.exchange()
    assert browser.received.startswith(b"HTTP/1.1 400 ")
    assert browser.closed
    assert browser.transport.end == "half-closed"
    browser.transport.deliver(b"anything")
    browser.transport.close_by_peer()
    proxy.assert_nothing_left()


def test_cut_off_has_no_close_notify(proxy: MemoryProxy) -> None:
    """The client can tell an incomplete answer from a complete one."""
    browser = Browser(proxy)
    browser.shake_hands()
    browser.send(GET)
    backend = proxy.accept()
    backend.deliver(OK[:-1])
    backend.reset_by_peer()
    browser.exchange()
    assert browser.received == OK[:-1]
    assert not browser.closed
    assert browser.transport.end == "aborted"


def test_handshake_deadline(proxy: MemoryProxy) -> None:
    """A client that does not shake hands is cut off; nothing is left of it."""
    browser = Browser(proxy)
    proxy.advance(LIMITS.handshake_s - 1)
    assert not browser.transport.end
    proxy.advance(1)
    assert browser.transport.end == "aborted"
    browser.transport.settle()
    proxy.assert_nothing_left()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", b"\x16\x03\x01\x00\x02hi", b"\0"])
def test_what_is_no_handshake_leaves_nothing(proxy: MemoryProxy, data: bytes) -> None:
    """Plain HTTP, garbage, or half a record and then the end."""
    browser = Browser(proxy)
    browser.transport.deliver(data)
    browser.transport.settle()
    if not browser.transport.is_lost:
        browser.transport.close_by_peer()
    proxy.assert_nothing_left()
    assert proxy.telemetry.answers == []


def test_factory_builds_a_layer_over_a_client_connection(proxy: MemoryProxy) -> None:
    """One session for each connection."""
    factory = TLSFactory(proxy.factory, NOW)
    first, second = factory.buildProtocol(None), factory.buildProtocol(None)
    assert isinstance(first, Protocol)
    assert first.session is not second.session


# Which certificate


CA = Authority("Sites CA")
SITE = CA.server("app.test", "also.test")
WILD = CA.server("*.wild.test")
NEXT = CA.server("app.test")


def site(leaf: Leaf = SITE, domain: str = "app.test", host_id: str = "h1", **changes: Any) -> HostEntry:
    """A host with a certificate for its clients."""
    return entry(domain=domain, host_id=host_id, downstream_tls=DownstreamTLS(certificate=leaf.chain_pem, **changes))


@pytest.fixture
def https(dialler: Dialler) -> MemoryProxy:
    """Three hosts: app.test and *.wild.test with certificates, bare.test without."""
    proxy = MemoryProxy(dialler, entry(domain="bare.test", host_id="h3"), scheme="https")
    proxy.install(site(), downstream_key_pem=SITE.key_pem.encode())
    proxy.install(site(WILD, "*.wild.test", "h2"), downstream_key_pem=WILD.key_pem.encode())
    return proxy


def shown(proxy: MemoryProxy, name: str, **options: str) -> x509.Certificate:
    """The certificate that a client gets which asks for `name`."""
    browser = Browser(proxy, name, **options)
    browser.shake_hands()
    certificate = browser.session.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    assert browser.session.get_alpn_proto_negotiated() == b"http/1.1"
    return certificate


def is_default(certificate: x509.Certificate) -> bool:
    return certificate.subject.rfc4514_string() == f"CN={DEFAULT_COMMON_NAME}"


@pytest.mark.parametrize("tls_version", ["TLSv1.2", "TLSv1.3"])
def test_certificate_follows_the_name_as_routing_does(https: MemoryProxy, tls_version: str) -> None:
    """Exact, then wildcard with one label or more, whatever the case."""
    assert shown(https, "app.test", tls_version=tls_version) == SITE.certificate
    assert shown(https, "APP.test", tls_version=tls_version) == SITE.certificate
    assert shown(https, "a.wild.test", tls_version=tls_version) == WILD.certificate
    assert shown(https, "b.a.wild.test", tls_version=tls_version) == WILD.certificate


@pytest.mark.parametrize("name", ["bare.test", "unknown.test", "wild.test", "192.0.2.1", "no_name-", "x.y" * 20])
def test_other_names_and_no_name_get_the_default_certificate(https: MemoryProxy, name: str) -> None:
    """Also a host without certificate, and what is no name."""
    certificate = shown(https, name)
    assert is_default(certificate)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc


def test_new_certificate_is_shown_from_the_next_handshake_on(https: MemoryProxy) -> None:
    """An open connection goes on; a host that lost its certificate shows the default one."""
    browser = Browser(https)
    browser.shake_hands()
    https.install(site(NEXT), generation=2, downstream_key_pem=NEXT.key_pem.encode())
    assert shown(https, "app.test") == NEXT.certificate
    browser.send(GET)
    https.accept().deliver(OK)
    browser.exchange()
    assert browser.received == OK
    https.install(entry(), generation=3)
    assert is_default(shown(https, "app.test"))


def test_intermediates_are_sent(https: MemoryProxy) -> None:
    """Clients do not fetch them."""
    leaf = Authority("Intermediate", parent=CA).server("app.test")
    https.install(site(leaf), generation=2, downstream_key_pem=leaf.key_pem.encode())
    browser = Browser(https)
    browser.shake_hands()
    assert len(browser.session.get_peer_cert_chain() or ()) == 2


@pytest.mark.parametrize("tls_version", ["TLSv1.2", "TLSv1.3"])
def test_unusable_certificate_refuses_the_handshake_for_its_names_only(https: MemoryProxy, tls_version: str) -> None:
    """No other certificate stands in for it, and nothing is left over."""
    https.install(site(), generation=2, downstream_key_pem=WILD.key_pem.encode())
    browser = Browser(https, tls_version=tls_version)
    with pytest.raises(SSL.Error) as refusal:
        browser.shake_hands()
    assert refusal.value.args[0][0][2] == "tls alert handshake failure"
    assert browser.session.get_peer_certificate() is None
    assert not https.factory.connections
    assert shown(https, "a.wild.test", tls_version=tls_version) == WILD.certificate


def test_unusable_certificate_refuses_a_resumed_session_too(https: MemoryProxy) -> None:
    """A resumed session needs no certificate, so its lack alone would not refuse it."""
    factory = TLSFactory(https.factory, NOW)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)

    def handshake(resumed: SSL.Session | None) -> tuple[MemoryTransport, SSL.Connection]:
        layer = factory.buildProtocol(None)
        transport = MemoryTransport(layer)
        layer.makeConnection(transport)
        session = SSL.Connection(context, None)
        session.set_tlsext_host_name(b"app.test")
        if resumed is not None:
            session.set_session(resumed)
        session.set_connect_state()
        seen = 0
        for _ in range(3):
            with contextlib.suppress(SSL.Error):
                session.do_handshake()
            if data := drain(session):
                transport.deliver(data)
            if news := transport.received[seen:]:
                session.bio_write(news)
            seen += len(news)
        return transport, session

    first, session = handshake(None)
    assert not first.disconnecting
    https.install(site(), generation=2, downstream_key_pem=WILD.key_pem.encode())
    second, _ = handshake(session.get_session())
    assert second.disconnecting


def answer_to(proxy: MemoryProxy, sni: str, host: bytes) -> bytes:
    """What a client that asked for `sni` gets for a request to `host`; b"" while it waits for an upstream."""
    browser = Browser(proxy, sni)
    browser.shake_hands()
    browser.send(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    browser.exchange()
    return browser.received


@pytest.mark.parametrize(
    ("sni", "host"),
    [
        ("app.test", b"app.test"),
        ("app.test", b"APP.test:8443"),
        ("a.wild.test", b"b.wild.test"),
        ("a.wild.test", b"b.a.wild.test"),
        ("bare.test", b"bare.test"),
        ("192.0.2.1", b"app.test"),
        ("192.0.2.1", b"bare.test"),
        ("app.test", b"also.test"),
    ],
)
def test_requests_that_the_connection_was_secured_for(https: MemoryProxy, sni: str, host: bytes) -> None:
    """The same host, a name that the certificate covers, or a client that asked for no name."""
    https.install(entry(domain="also.test", host_id="h4"), generation=2)
    assert answer_to(https, sni, host) == b""
    assert https.dialler.attempts


@pytest.mark.parametrize(
    ("sni", "host"),
    [
        ("app.test", b"a.wild.test"),
        ("app.test", b"bare.test"),
        ("bare.test", b"app.test"),
        ("unknown.test", b"app.test"),
    ],
)
def test_misdirected_requests_are_421(https: MemoryProxy, sni: str, host: bytes) -> None:
    """RFC 9110 section 15.5.20; nothing is asked of an upstream."""
    answer = answer_to(https, sni, host)
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert b"Strict-Transport-Security" not in answer
    assert not https.dialler.attempts


# HSTS and the redirect


def test_hsts_replaces_the_upstreams(https: MemoryProxy) -> None:
    """RFC 6797 section 8.1: clients look at the first one only."""
    https.install(site(hsts_max_age_s=600), generation=2, downstream_key_pem=SITE.key_pem.encode())
    browser = Browser(https)
    browser.shake_hands()
    browser.send(GET)
    https.accept().deliver(
        b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nContent-Length: 0\r\nX: y\r\n\r\n"
    )
    browser.exchange()
    head = b"HTTP/1.1 200 OK\r\nX: y\r\nStrict-Transport-Security: max-age=600\r\nContent-Length: 0\r\n\r\n"
    assert browser.received == head


def test_hsts_is_in_the_workers_own_answers(https: MemoryProxy) -> None:
    """The upstream's failure does not make the next visit less safe."""
    https.install(site(hsts_max_age_s=600), generation=2, downstream_key_pem=SITE.key_pem.encode())
    browser = Browser(https)
    browser.shake_hands()
    browser.send(GET)
    https.attempt.fail(ConnectionRefusedError(111, "refused"))
    browser.exchange()
    assert browser.received.startswith(b"HTTP/1.1 502 ")
    assert b"\r\nStrict-Transport-Security: max-age=600\r\n" in browser.received


def test_without_hsts_the_upstreams_own_passes(https: MemoryProxy) -> None:
    """The host leaves it to the upstream."""
    browser = Browser(https)
    browser.shake_hands()
    browser.send(GET)
    response = b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n"
    https.accept().deliver(response)
    browser.exchange()
    assert browser.received == response


def test_plain_http_is_sent_to_https(proxy: MemoryProxy) -> None:
    """308 keeps method and body; path and query stay, the port is the HTTPS listener's; no HSTS over plain HTTP."""
    proxy.install(site(force_https=True, hsts_max_age_s=600), generation=2, downstream_key_pem=SITE.key_pem.encode())
    client = proxy.client(
        b"POST /a?b=c HTTP/1.1\r\nHost: APP.test:8080\r\nContent-Length: 2\r\n\r\nhi"
        b"OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n"
    )
    first, second = client.received.split(b"HTTP/1.1 308 Permanent Redirect\r\n")[1:]
    assert b"\r\nLocation: https://app.test:8443/a?b=c\r\n" in first
    assert b"\r\nLocation: https://app.test:8443\r\n" in second
    assert b"Strict-Transport-Security" not in client.received
    assert not proxy.dialler.attempts


def test_https_is_not_redirected(https: MemoryProxy) -> None:
    """It would never end."""
    https.install(site(force_https=True), generation=2, downstream_key_pem=SITE.key_pem.encode())
    assert answer_to(https, "app.test", b"app.test") == b""
