"""What clients are shown in a TLS handshake: certificates of hosts, the default one, or none at all.

Laws of this module:
- `server_certificate` is slow (keys are parsed) and runs off the reactor thread; what it makes is immutable and shared
  by all handshakes.
- The default certificate is made by the worker for itself at start and never stored; browsers warn of it, and that is
  right (docs/adr/0007).
- A certificate that cannot be used is a CredentialProblem; there is no other certificate in its place.
"""

import datetime
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from upstream_tls.tls.credentials import PrivateKey, check_pair, parse_chain, parse_key
from upstream_tls.tls.material import memory_bio_context, use_pair
from upstream_tls.tls.names import CertificateNames

DEFAULT_COMMON_NAME = "Aegis default certificate"
DEFAULT_VALIDITY = datetime.timedelta(days=397)


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class ServerCertificate:
    """A certificate as handshakes use it: `context` has the chain and the key, `names` says what it is good for.

    `not_after` is the leaf's, in seconds of Unix time.
    """

    context: SSL.Context
    names: CertificateNames
    not_after: float


def server_certificate(chain_pem: bytes, key_pem: bytes) -> ServerCertificate:
    """The certificate of a host: a chain, leaf first, and the leaf's key. Raises CredentialProblem."""
    chain = parse_chain(chain_pem)
    key = parse_key(key_pem)
    check_pair(chain, key)
    return ServerCertificate(
        _context(chain, key), CertificateNames(chain[0]), not_after=chain[0].not_valid_after_utc.timestamp()
    )


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
    return _context((certificate,), key)


def empty_context() -> SSL.Context:
    """A context without certificate: every handshake that is switched to it fails with alert 40."""
    return SSL.Context(SSL.TLS_SERVER_METHOD)


def _context(chain: tuple[x509.Certificate, ...], key: PrivateKey) -> SSL.Context:
    context = memory_bio_context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    # Sessions are resumed by tickets, which clients keep. The cache would keep 20 480 sessions for each host, for
    # clients of TLS 1.2 that take none.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_select_protocol)
    use_pair(context, chain, key)
    return context


def _select_protocol(session: SSL.Connection, offered: list[bytes]) -> Any:
    """RFC 7301 section 3.2: HTTP/1.1 when it is offered, otherwise go on without."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS
