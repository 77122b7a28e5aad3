"""TLS towards clients.

Laws of this module: as long as a host has no certificate of its own, the worker answers with a default one that it
makes for itself at start and never stores; browsers warn of it, and that is right.
"""

import datetime
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from proxyworker.net.deadlines import NEVER
from proxyworker.net.downstream import DownstreamFactory
from proxyworker.net.tls import TLSLayer

DEFAULT_COMMON_NAME = "Aegis default certificate"
DEFAULT_VALIDITY = datetime.timedelta(days=397)

# SSL_MODE_ENABLE_PARTIAL_WRITE (openssl/ssl.h): without it one send takes all it is given.
_MODE_PARTIAL_WRITE = 0x1


def default_context(now: datetime.datetime) -> SSL.Context:
    """A server context with a self-signed certificate that names no host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEFAULT_COMMON_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + DEFAULT_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.clear_mode(_MODE_PARTIAL_WRITE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_alpn_select_callback(_select_protocol)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


def _select_protocol(session: SSL.Connection, offered: list[bytes]) -> Any:
    """RFC 7301 section 3.2: HTTP/1.1 when it is offered, otherwise go on without."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class _Handshake:
    """A handshake with a client, which has a deadline."""

    def __init__(self, factory: "TLSFactory") -> None:
        self._sweep = factory.above.sweep
        self._handshake_s = factory.above.limits.handshake_s
        self.deadline = NEVER
        self.abort: Callable[[], None] = lambda: None

    def connected(self) -> None:
        """The client is there."""
        self.deadline = self._sweep.now + self._handshake_s
        self._sweep.add(self)

    def over(self, *_: object) -> None:
        """Finished or failed."""
        self._sweep.discard(self)

    def deadline_passed(self) -> None:
        """The client took too long."""
        self.over()
        self.abort()


class TLSFactory(Factory):
    """The connections of a TLS listener: a TLS layer below what `above` builds."""

    noisy = False

    def __init__(self, above: DownstreamFactory, context: SSL.Context) -> None:
        self.above = above
        self._context = context

    def buildProtocol(self, addr: IAddress | None) -> TLSLayer:
        session = SSL.Connection(self._context, None)
        session.set_accept_state()
        handshake = _Handshake(self)
        layer = TLSLayer(
            session,
            self.above.buildProtocol(addr),
            connected=handshake.connected,
            established=handshake.over,
            failed=handshake.over,
        )
        handshake.abort = layer.abortConnection
        return layer
