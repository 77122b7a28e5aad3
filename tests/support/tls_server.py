"""TLS servers in memory, for client sessions that are memory BIOs as well."""

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509

from tests.support.certificates import Leaf

# SSL_MODE_ENABLE_PARTIAL_WRITE (openssl/ssl.h): without it one send takes all it is given.
_MODE_PARTIAL_WRITE = 0x1


def server_context(leaf: Leaf, *, client_ca_pem: str = "", minimum: int = SSL.TLS1_2_VERSION) -> SSL.Context:
    """A server with this certificate; with `client_ca_pem` it demands a client certificate of that CA."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.clear_mode(_MODE_PARTIAL_WRITE)
    context.set_min_proto_version(minimum)
    context.use_certificate(leaf.certificate)
    for intermediate in x509.load_pem_x509_certificates(leaf.chain_pem.encode())[1:]:
        context.add_extra_chain_cert(intermediate)
    context.use_privatekey(leaf.key)
    if client_ca_pem:
        store = context.get_cert_store()
        assert store is not None
        for certificate in x509.load_pem_x509_certificates(client_ca_pem.encode()):
            store.add_cert(X509.from_cryptography(certificate))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *arguments: bool(arguments[-1]))
    return context


def accepting(context: SSL.Context) -> SSL.Connection:
    """A session in the server's role."""
    session = SSL.Connection(context, None)
    session.set_accept_state()
    return session


def drain(session: SSL.Connection) -> bytes:
    """What the session wants to send."""
    parts = []
    while True:
        try:
            parts.append(session.bio_read(65_536))
        except SSL.WantReadError:
            return b"".join(parts)


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> Exception | None:
    """Runs the handshake, and the server's verdict on the client, to the end; the client's failure, if any."""
    failure = None
    for _ in range(10):
        for session, other in ((client, server), (server, client)):
            try:
                session.do_handshake()
            except SSL.WantReadError:
                pass
            except Exception as error:  # noqa: BLE001 (whatever it is, the test decides)
                failure = failure or (error if session is client else None)
            if data := drain(session):
                other.bio_write(data)
        if failure:
            break
    try:
        client.recv(1)
    except SSL.WantReadError:
        pass
    except SSL.Error as error:
        failure = failure or error
    return failure
