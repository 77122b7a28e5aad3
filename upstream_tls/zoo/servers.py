"""What the members of the zoo do with a connection.

Laws of this module: a behaviour is a function of one accepted socket and runs in a thread of its own; it may raise
OSError and SSL.Error. It waits on `stop` alone, so that the zoo closes at once.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from upstream_tls.zoo.pki import Identity

Stop = threading.Event
Behaviour = Callable[[socket.socket, Stop], None]
Talk = Callable[[SSL.Connection, Stop], None]

TRICKLE_EVERY_S = 1.0

# SO_RCVTIMEO (struct timeval): pyOpenSSL on a socket with a Python timeout would have to be pumped.
_TEN_SECONDS = struct.pack("ll", 10, 0)
# SO_LINGER on, zero seconds: closing sends RST.
_RESET = struct.pack("ii", 1, 0)
_FATAL = 2

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


def answer(status_line: str, body: str = "") -> bytes:
    """A whole HTTP/1.1 response."""
    return f"HTTP/1.1 {status_line}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSUpstream:
    """A TLS upstream, to be used as a behaviour.

    `clients` are the CAs of the client certificates that it demands; empty: it asks for none. `takes_any_client`: it
    asks for a certificate and lets the handshake succeed whatever comes, or `needs_some_client` none comes. `talk`
    replaces request and answer.
    """

    identity: Identity
    clients: Sequence[Identity] = ()
    client_crls: Sequence[x509.CertificateRevocationList] = ()
    takes_any_client: bool = False
    needs_some_client: bool = False
    response: bytes = OK
    talk: Talk | None = None
    versions: tuple[int, int] = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
    ciphers: bytes = b""
    alpn: bytes | None = None

    def __call__(self, connection: socket.socket, stop: Stop) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TEN_SECONDS)
        session = SSL.Connection(self.context(), connection)
        session.set_accept_state()
        session.do_handshake()
        if self.talk is not None:
            self.talk(session, stop)
            return
        head = _read_head(session)
        # RFC 9110 section 9.3.2: an answer to HEAD has no content.
        session.sendall(
            self.response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head[:5] == b"HEAD " else self.response
        )
        session.shutdown()

    def context(self) -> SSL.Context:
        """The server's side of the handshake."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_min_proto_version(self.versions[0])
        context.set_max_proto_version(self.versions[1])
        if b"@SECLEVEL=0" in self.ciphers:
            context.set_cipher_list(self.ciphers)  # before the certificate, which may be too weak for the default
        context.use_certificate(self.identity.certificate)
        context.use_privatekey(self.identity.key)
        for certificate in self.identity.above:
            context.add_extra_chain_cert(certificate)
        if self.ciphers:
            context.set_cipher_list(self.ciphers)  # after it, when the level is meant for the client's
        if self.alpn is not None:
            context.set_alpn_select_callback(self._select_alpn)
        self._demand_client(context)
        return context

    def _demand_client(self, context: SSL.Context) -> None:
        if not (self.clients or self.takes_any_client):
            return
        store = context.get_cert_store()
        assert store is not None  # noqa: S101 (an SSL_CTX always has one)
        for ca in self.clients:
            store.add_cert(X509.from_cryptography(ca.certificate))
            context.add_client_ca(ca.certificate)
        for crl in self.client_crls:
            store.add_crl(crl)
            store.set_flags(X509StoreFlags.CRL_CHECK)
        mode = SSL.VERIFY_PEER
        if self.needs_some_client or not self.takes_any_client:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, lambda _session, _certificate, _code, _depth, ok: bool(ok) or self.takes_any_client)

    def _select_alpn(self, _session: SSL.Connection, offered: list[bytes]) -> bytes:
        if self.alpn not in offered:
            raise SSL.Error("no protocol in common")  # pyOpenSSL makes it the alert no_application_protocol
        return self.alpn


def alert(number: int) -> Behaviour:
    """Answers the client's hello with a fatal alert (RFC 8446 section 6)."""

    def behave(connection: socket.socket, _stop: Stop) -> None:
        connection.recv(65_536)
        connection.sendall(bytes((21, 3, 3, 0, 2, _FATAL, number)))

    return behave


def says(data: bytes, *, after_hello: bool) -> Behaviour:
    """Says something that is no TLS."""

    def behave(connection: socket.socket, _stop: Stop) -> None:
        if after_hello:
            connection.recv(65_536)
        connection.sendall(data)

    return behave


def resets(connection: socket.socket, _stop: Stop) -> None:
    """Cuts the connection off in the handshake."""
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def closes(connection: socket.socket, _stop: Stop) -> None:
    """Closes the connection in the handshake."""
    connection.recv(65_536)


def is_silent(_connection: socket.socket, stop: Stop) -> None:
    """Accepts and says nothing."""
    stop.wait()


def trickles(connection: socket.socket, stop: Stop) -> None:
    """Sends the beginning of an endless handshake, a byte a second."""
    record = bytes((22, 3, 3, 0x40, 0, 2)) + bytes(0x4000)
    for byte in record:
        connection.sendall(bytes((byte,)))
        if stop.wait(TRICKLE_EVERY_S):
            return


def never_finishes(upstream: TLSUpstream) -> Behaviour:
    """Begins a good handshake and holds its last bytes back."""

    def behave(connection: socket.socket, stop: Stop) -> None:
        session = SSL.Connection(upstream.context(), None)
        session.set_accept_state()
        session.bio_write(connection.recv(65_536))
        with contextlib.suppress(SSL.WantReadError):
            session.do_handshake()
        connection.sendall(session.bio_read(65_536)[:-20])
        stop.wait()

    return behave


def hangs_up(session: SSL.Connection, _stop: Stop) -> None:
    """Closes right after the handshake without a word, as Node does when it does not like the client's certificate."""
    with contextlib.suppress(SSL.Error):
        session.recv(1)  # so that the close is seen as one, and not as a reset over unread bytes


def cuts_off(session: SSL.Connection, _stop: Stop) -> None:
    """Resets the connection right after the handshake."""
    with contextlib.suppress(SSL.Error):
        session.recv(1)
    session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    session.close()


def says_nothing(_session: SSL.Connection, stop: Stop) -> None:
    """Takes the request and never answers."""
    stop.wait()


def trickles_answer(session: SSL.Connection, stop: Stop) -> None:
    """Answers a byte a second."""
    _read_head(session)
    for byte in OK:
        session.sendall(bytes((byte,)))
        if stop.wait(TRICKLE_EVERY_S):
            return


def is_never_final(session: SSL.Connection, stop: Stop) -> None:
    """Sends interim responses for ever (RFC 9110 section 15.2)."""
    _read_head(session)
    while not stop.wait(0.05):
        session.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def floods(session: SSL.Connection, stop: Stop) -> None:
    """Sends a field that never ends."""
    _read_head(session)
    session.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not stop.is_set():
        session.sendall(b"x" * 16_384)


def _read_head(session: SSL.Connection) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65_536:
        head += session.recv(65_536)
    return head
