"""TLS towards clients."""

import contextlib
import datetime

import pytest
from OpenSSL import SSL
from twisted.internet.protocol import Protocol

from proxyworker.net.downstream_tls import DEFAULT_COMMON_NAME, TLSFactory, default_context
from proxyworker.net.tls import TLSLayer
from proxyworker.policy.limits import DownstreamLimits
from tests.proxyworker.net.memory import MemoryTransport
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy
from tests.support.tls_server import drain
from upstream_tls.tls.context import build_context
from upstream_tls.tls.spec import UpstreamTLSSpec

NOW = datetime.datetime.now(datetime.UTC)
SERVER = default_context(NOW)
LIMITS = DownstreamLimits()


class Browser:
    """A client that accepts any certificate."""

    def __init__(self, proxy: MemoryProxy) -> None:
        layer = TLSFactory(proxy.factory, SERVER).buildProtocol(None)
        assert isinstance(layer, TLSLayer)
        self.transport = MemoryTransport(layer)
        layer.makeConnection(self.transport)
        self.session = build_context(UpstreamTLSSpec(skip_verify=True)).open("app.test")
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


def test_default_certificate_names_no_host() -> None:
    """Browsers warn of it, and that is right."""
    browser_session = build_context(UpstreamTLSSpec(skip_verify=True)).open("app.test")
    server = SSL.Connection(SERVER, None)
    server.set_accept_state()
    for _ in range(3):
        for session, other in ((browser_session, server), (server, browser_session)):
            with contextlib.suppress(SSL.WantReadError):
                session.do_handshake()
            if data := drain(session):
                other.bio_write(data)
    certificate = browser_session.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    assert certificate.subject.rfc4514_string() == f"CN={DEFAULT_COMMON_NAME}"
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert browser_session.get_alpn_proto_negotiated() == b"http/1.1"


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
    factory = TLSFactory(proxy.factory, SERVER)
    first, second = factory.buildProtocol(None), factory.buildProtocol(None)
    assert isinstance(first, Protocol)
    assert first.session is not second.session
