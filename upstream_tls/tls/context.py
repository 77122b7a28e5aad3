"""The one builder: from an `UpstreamTLSSpec` to TLS sessions with upstreams.

Laws of this module:
- Traffic, WebSockets, health checks and connection tests open their sessions here and nowhere else.
- Verification fails closed: chain and name are checked inside the handshake, every exception is a refusal, and
  `confirm` refuses a session whose name was never checked. Twisted's `optionsForClientTLS` lets certificates without a
  usable name pass and is not used (docs/adr/0003).
- One ClientContext per identity digest. Sessions are never resumed, so nothing of one identity reaches another.
"""

import hashlib
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from upstream_tls.tls.credentials import check_pair, parse_ca_bundle, parse_chain, parse_key
from upstream_tls.tls.diagnosis import Diagnosis, HandshakeEvidence, NameProblem, diagnose_handshake
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.tls.trust import system_trust_anchors

ALPN_PROTOCOLS = [b"http/1.1"]

# SSL_MODE_ENABLE_PARTIAL_WRITE (openssl/ssl.h), which pyOpenSSL sets: without it one send takes all it is given.
_MODE_PARTIAL_WRITE = 0x1

# The alert that ends a session and complains of nothing (RFC 8446 section 6.1).
_CLOSE_NOTIFY = 0

# RFC 8446 section 5.1: change_cipher_spec, alert, handshake, application_data.
_TLS_CONTENT_TYPES = frozenset((20, 21, 22, 23))


class PeerRefused(Exception):
    """The upstream's certificate was not checked against a name. Never expected; fails closed."""


@dataclass(slots=True)
class _SessionState:
    """What the callbacks saw of one session."""

    expected_name: str
    is_name_checked: bool = False
    verify_code: int = 0
    depth: int = 0
    name_problem: NameProblem | None = None
    names: tuple[str, ...] = ()
    alert_read: int | None = None
    alert_written: int | None = None


def identity_digest(spec: UpstreamTLSSpec) -> str:
    """sha256 over all that makes one identity different from another; the key counts through its certificate."""
    parts = (spec.client_chain_pem, spec.ca_pem, b"1" if spec.skip_verify else b"0", spec.server_name.encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class ClientContext:
    """TLS sessions under one identity. Immutable; sessions are memory BIOs that the caller pumps."""

    __slots__ = ("_context", "_spec", "digest")

    def __init__(self, spec: UpstreamTLSSpec) -> None:
        self._spec = spec
        self.digest = identity_digest(spec)
        self._context = _context(spec)

    def open(self, address: str) -> SSL.Connection:
        """A session with the upstream at `address`, in the client's role, before its handshake."""
        name = self._spec.server_name or address
        session = SSL.Connection(self._context, None)
        session.set_app_data(_SessionState(name))
        if not _is_ip_address(name):
            # RFC 6066 section 3: literal IP addresses are not permitted as server names.
            session.set_tlsext_host_name(name.encode("ascii"))
        session.set_connect_state()
        return session

    def confirm(self, session: SSL.Connection) -> None:
        """Called once when the handshake has finished, before anything is sent. Raises PeerRefused."""
        state: _SessionState = session.get_app_data()
        if not self._spec.skip_verify and not state.is_name_checked:
            raise PeerRefused("the upstream's certificate was not checked")

    def explain(self, session: SSL.Connection, *, first_bytes: bytes, peer_closed: bool) -> Diagnosis:
        """Why a session failed. `first_bytes`: the beginning of what the upstream sent; at least one byte of it."""
        state: _SessionState = session.get_app_data()
        return diagnose_handshake(
            HandshakeEvidence(
                verify_code=state.verify_code,
                depth=state.depth,
                name_problem=state.name_problem,
                names=state.names,
                expected_name=state.expected_name,
                alert_read=state.alert_read,
                alert_written=state.alert_written,
                looks_like_tls=not first_bytes or first_bytes[0] in _TLS_CONTENT_TYPES,
                peer_closed=peer_closed,
            )
        )


def build_context(spec: UpstreamTLSSpec) -> ClientContext:
    """The context of an identity; parses keys and certificates, so it takes milliseconds.

    Raises CredentialProblem when chain, key or CA bundle cannot be used.
    """
    return ClientContext(spec)


def _context(spec: UpstreamTLSSpec) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.clear_mode(_MODE_PARTIAL_WRITE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # Sessions are never resumed, so none is kept; renegotiation would turn a write into a wait (RFC 9325 section 3.5).
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_alpn_protos(ALPN_PROTOCOLS)
    context.set_info_callback(_note_alert)
    if spec.client_chain_pem:
        _use_client_certificate(context, spec)
    if spec.skip_verify:
        context.set_verify(SSL.VERIFY_NONE)
        return context
    store = context.get_cert_store()
    assert store is not None  # noqa: S101 (an SSL_CTX always has one)
    anchors = _trust_anchors(spec)
    for anchor in anchors:
        store.add_cert(anchor)
    # A configured CA is trusted as it stands, also when it is an intermediate or the upstream's own certificate.
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    context.set_verify(SSL.VERIFY_PEER, _verify)
    return context


def _use_client_certificate(context: SSL.Context, spec: UpstreamTLSSpec) -> None:
    chain = parse_chain(spec.client_chain_pem)
    key = parse_key(spec.client_key_pem)
    check_pair(chain, key)
    context.use_certificate(chain[0])
    for intermediate in chain[1:]:
        context.add_extra_chain_cert(intermediate)
    context.use_privatekey(key)


def _trust_anchors(spec: UpstreamTLSSpec) -> tuple[X509, ...]:
    if not spec.ca_pem:
        return system_trust_anchors()
    return tuple(X509.from_cryptography(certificate) for certificate in parse_ca_bundle(spec.ca_pem))


def _note_alert(session: SSL.Connection, where: int, value: int) -> None:
    """Info callback: alerts are (level, description); the low byte is the description (RFC 8446 section 6)."""
    if not where & SSL.SSL_CB_ALERT or value & 0xFF == _CLOSE_NOTIFY:
        return
    state: _SessionState = session.get_app_data()
    if where & SSL.SSL_CB_READ:
        state.alert_read = value & 0xFF
    else:
        state.alert_written = value & 0xFF


def _verify(session: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
    """Verify callback, called from the root down. The first error stands: the later ones follow from it."""
    state: _SessionState = session.get_app_data()
    if not ok:
        state.verify_code = state.verify_code or code
        state.depth = depth
        return False
    if depth:
        return True
    try:
        _verify_name(certificate.to_cryptography(), state.expected_name)
    except Exception:  # noqa: BLE001 (whatever goes wrong in looking at a hostile certificate is a refusal)
        state.names = _names(certificate)
        state.name_problem = _name_problem(state)
        return False
    state.is_name_checked = True
    return True


def _verify_name(leaf: x509.Certificate, name: str) -> None:
    """RFC 9525, by service_identity: raises when the certificate is not for `name`."""
    if _is_ip_address(name):
        verify_certificate_ip_address(leaf, name)
    else:
        verify_certificate_hostname(leaf, name)


def _name_problem(state: _SessionState) -> NameProblem:
    if not state.names:
        return NameProblem.NO_SUBJECT_ALT_NAME
    return NameProblem.IP_MISMATCH if _is_ip_address(state.expected_name) else NameProblem.NAME_MISMATCH


def _names(certificate: X509) -> tuple[str, ...]:
    """The subject alternative names, for a message; a malformed certificate has none."""
    try:
        extensions = certificate.to_cryptography().extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 (as in _verify)
        return ()
    # A stranger wrote them: nothing in a name may end a log line.
    return tuple(str(name.value).encode("unicode_escape").decode("ascii") for name in names)[:20]


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
