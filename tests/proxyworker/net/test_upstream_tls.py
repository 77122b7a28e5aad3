"""TLS failures of the traffic: the codes and reasons that the operator reads, and nothing of them for the client."""

import contextlib
import datetime

import pytest
from OpenSSL import SSL

from proxyworker.build import build
from proxyworker.snapshot import HostEntry
from tests.proxyworker.entries import tls_of
from tests.proxyworker.net.memory import Dialler, MemoryTransport
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, loaded, upstream
from upstream_tls.tls.spec import TLS_VERSIONS, UpstreamTLSSpec
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.servers import TLSUpstream, answer

VERSIONS = pytest.mark.parametrize("version", TLS_VERSIONS)


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of the traffic", datetime.datetime.now(datetime.UTC))


class TLSPeer:
    """The upstream's side of one connection."""

    def __init__(self, server: TLSUpstream, transport: MemoryTransport) -> None:
        self.session = SSL.Connection(server.context(), None)
        self.session.set_accept_state()
        self._transport = transport
        self._taken_bytes = 0

    def shake_hands(self) -> None:
        """Both sides go on until neither has anything to say."""
        for _ in range(4):
            self.take()
            with contextlib.suppress(SSL.Error):
                self.session.do_handshake()
            self.give()

    def take(self) -> None:
        """What the worker has sent goes into the session."""
        data = self._transport.received[self._taken_bytes :]
        self._taken_bytes += len(data)
        if data:
            self.session.bio_write(data)

    def give(self) -> None:
        """What the session has to say goes to the worker."""
        with contextlib.suppress(SSL.WantReadError):
            self._transport.deliver(self.session.bio_read(65_536))


def proxy_for(dialler: Dialler, spec: UpstreamTLSSpec) -> MemoryProxy:
    """A data plane whose one host has these TLS settings."""
    host: HostEntry = entry(upstream(scheme="https"), upstream_tls=tls_of(spec))
    proxy = MemoryProxy(dialler)
    built = build(loaded(host, generation=2, key_pem=spec.client_key_pem))
    assert not built.rejected
    proxy.configuration.install([built])
    return proxy


@VERSIONS
def test_upstreams_verdict_on_our_certificate_is_told(pki: PKI, dialler: Dialler, version: str) -> None:
    """In the handshake with TLS 1.2, with the first read in TLS 1.3: the same code; the client is told 502 only."""
    spec = settings(pki, client=pki.client(issuer=pki.stranger), min_version=version, max_version=version)
    proxy = proxy_for(dialler, spec)
    client = proxy.client(GET)
    peer = TLSPeer(TLSUpstream(identity=pki.server(), clients=(pki.clients_root,)), transport := proxy.accept())
    peer.shake_hands()
    if not transport.is_lost:
        transport.close_by_peer()
    proxy.settle()
    (failure,) = proxy.telemetry.failures
    assert failure.code == "client_certificate_untrusted"
    assert failure.reason == "remote error: tls: unknown certificate authority"
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert b"certificate" not in client.received


def test_connection_whose_peer_has_ended_is_not_used_again(pki: PKI, dialler: Dialler) -> None:
    """From the end of its stream on, although the connection is still there; a POST could not be repeated."""
    proxy = proxy_for(dialler, settings(pki))
    client = proxy.client(GET)
    peer = TLSPeer(TLSUpstream(identity=pki.server(), clients=(pki.clients_root,)), transport := proxy.accept())
    peer.shake_hands()
    peer.session.send(OK)
    peer.give()
    assert client.received == OK
    assert proxy.configuration.idle_connection_count == 1
    transport.half_close_by_peer()
    assert not transport.is_lost
    client.deliver(b"POST" + GET[3:])
    assert len(dialler.attempts) == 2
    assert proxy.telemetry.failures == []


@VERSIONS
def test_demand_for_a_certificate_is_told(pki: PKI, dialler: Dialler, version: str) -> None:
    """Alert 40 or 116, and none is configured."""
    proxy = proxy_for(dialler, settings(pki, without_client=True, min_version=version, max_version=version))
    proxy.client(GET)
    peer = TLSPeer(TLSUpstream(identity=pki.server(), clients=(pki.clients_root,)), transport := proxy.accept())
    peer.shake_hands()
    if not transport.is_lost:
        transport.close_by_peer()
    proxy.settle()
    (failure,) = proxy.telemetry.failures
    assert (failure.code, failure.reason) == (
        "client_certificate_required",
        "remote error: tls: certificate required",
    )


@VERSIONS
def test_silent_close_after_our_certificate_is_a_likely_rejection(pki: PKI, dialler: Dialler, version: str) -> None:
    """Node's way; the reason says that it is a conclusion."""
    proxy = proxy_for(dialler, settings(pki, min_version=version, max_version=version))
    proxy.client(GET)
    server = TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), takes_any_client=True)
    peer = TLSPeer(server, transport := proxy.accept())
    peer.shake_hands()
    transport.close_by_peer()
    proxy.settle()
    (failure,) = proxy.telemetry.failures
    assert failure.code == "client_certificate_rejected"
    assert failure.reason.startswith("EOF (likely: The upstream refused our certificate")


def test_close_of_a_pooled_connection_says_nothing_about_our_certificate(pki: PKI, dialler: Dialler) -> None:
    """The upstream has answered on it before: it took the certificate."""
    proxy = proxy_for(dialler, settings(pki))
    client = proxy.client(GET)
    server = TLSUpstream(identity=pki.server(), clients=(pki.clients_root,))
    peer = TLSPeer(server, transport := proxy.accept())
    peer.shake_hands()
    peer.session.recv(65_536)
    peer.session.send(OK)
    peer.give()
    proxy.settle()
    assert client.received.endswith(b"ok")
    client.deliver(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n")
    transport.close_by_peer()
    proxy.settle()
    (failure,) = proxy.telemetry.failures
    assert (failure.code, failure.reason) == ("connection_closed", "EOF")


@VERSIONS
def test_certificate_of_an_unknown_authority_is_told(pki: PKI, dialler: Dialler, version: str) -> None:
    """What we refused, with the words that people search for."""
    proxy = proxy_for(dialler, settings(pki, min_version=version, max_version=version))
    client = proxy.client(GET)
    peer = TLSPeer(TLSUpstream(identity=pki.server(issuer=pki.stranger)), proxy.accept())
    peer.shake_hands()
    proxy.settle()
    (failure,) = proxy.telemetry.failures
    assert (failure.code, failure.reason) == (
        "unknown_authority",
        "x509: certificate signed by unknown authority",
    )
    assert b"x509" not in client.received


PAGE = answer("400 Bad Request", "<center>No required SSL certificate was sent</center>")
CHUNKED_PAGE = (
    b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\nThe SSL certificate error!\r\n0\r\n\r\n"
)


def answered(pki: PKI, dialler: Dialler, data: bytes, piece_bytes: int = 65_536, request: bytes = GET) -> MemoryProxy:
    """A data plane whose upstream took the certificate and answers with `data`."""
    proxy = proxy_for(dialler, settings(pki))
    client = proxy.client(request)
    server = TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), takes_any_client=True)
    peer = TLSPeer(server, proxy.accept())
    peer.shake_hands()
    for start in range(0, len(data), piece_bytes):
        peer.session.send(data[start : start + piece_bytes])
        peer.give()
    proxy.settle()
    assert data.partition(b"\r\n")[0] in client.received
    assert b"request id" not in client.received
    return proxy


@pytest.mark.parametrize("piece_bytes", [7, 65_536])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (PAGE, "client_certificate_required"),
        (CHUNKED_PAGE, "client_certificate_rejected"),
        (answer("421 Misdirected Request"), "unrecognized_name"),
    ],
)
def test_refusal_in_http_is_passed_on_and_told(
    pki: PKI, dialler: Dialler, data: bytes, code: str, piece_bytes: int
) -> None:
    """As a test and a check do, once, however it arrives; the client gets what the upstream said."""
    proxy = answered(pki, dialler, data, piece_bytes)
    assert proxy.telemetry.codes == [code]
    [record] = proxy.telemetry.records
    assert (record[4], record[12], record[13]) == (int(data[9:12]), code, int(data[9:12]))


@pytest.mark.parametrize("data", [answer("400 Bad Request", "no such field"), answer("403 Forbidden", PAGE.decode())])
def test_other_answers_are_the_applications_own(pki: PKI, dialler: Dialler, data: bytes) -> None:
    """Whatever they say."""
    assert answered(pki, dialler, data).telemetry.failures == []


def test_protocol_that_aegis_does_not_speak_is_a_failure(pki: PKI, dialler: Dialler) -> None:
    """The upstream chose HTTP/2, which the host offered: it is not sent HTTP/1.1."""
    proxy = proxy_for(dialler, settings(pki, alpn=("h2", "http/1.1")))
    client = proxy.client(GET)
    TLSPeer(TLSUpstream(identity=pki.server(), alpn=b"h2"), proxy.accept()).shake_hands()
    proxy.settle()
    assert proxy.telemetry.codes == ["alpn_mismatch"]
    assert client.received.startswith(b"HTTP/1.1 502 ")
