"""What is decided and noted while a TLS session with an upstream is set up: the callbacks of the one builder.

Laws of this module:
- Verification fails closed: every exception in looking at a certificate is a refusal.
- The first verify error stands: the later ones follow from it.
- Under skip_verify the errors of the chain are noted in the same way, and only the pins can refuse. A pin then means
  the upstream's own certificate: of an unverified chain only the leaf's key was proven (RFC 8446 section 4.4.3), and
  anybody can put a pinned CA certificate beside a leaf of their own.
- Callbacks run for every handshake of the traffic: they allocate little and describe nothing.
"""

from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509

from upstream_tls.tls.alerts import CLOSE_NOTIFY
from upstream_tls.tls.evidence import NameProblem
from upstream_tls.tls.names import check_name, is_ip_address
from upstream_tls.tls.peer import spki_sha256

# X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER (openssl/x509_vfy.h).
_CRL_MISSING = frozenset((3, 12, 33))

# SSL_CB_LOOP and the states (SSL_state_string_long) that tell what was asked of us and what we sent. OpenSSL signs, and
# enters the second one, only when it has sent a certificate.
_CB_LOOP = 0x01
_STATE_REQUESTED = b"SSLv3/TLS read server certificate request"
_STATE_SENT = b"SSLv3/TLS write certificate verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the sessions of one context demand. `anchor_digests` are sha256 fingerprints, needed only beside CRLs."""

    skip_verify: bool
    pins: frozenset[str]
    anchor_digests: frozenset[bytes]


@dataclass(slots=True)
class SessionState:
    """What the callbacks saw of one session. `is_accepted`: the upstream's certificate passed all that is demanded."""

    policy: Policy
    expected_name: str
    is_accepted: bool = False
    verify_code: int = 0
    depth: int = 0
    suspect: X509 | None = None
    name_problem: NameProblem | None = None
    is_pin_mismatch: bool = False
    pins_seen: list[str] = field(default_factory=list)
    alert_read: int | None = None
    alert_written: int | None = None
    certificate_requested: bool = False
    certificate_sent: bool = False


def note_event(session: SSL.Connection, where: int, value: int) -> None:
    """Info callback. Alerts are (level, description); the low byte is the description (RFC 8446 section 6)."""
    if where & _CB_LOOP:
        state_name = session.get_state_string()
        if state_name == _STATE_REQUESTED:
            session.get_app_data().certificate_requested = True
        elif state_name == _STATE_SENT:
            session.get_app_data().certificate_sent = True
    elif where & SSL.SSL_CB_ALERT and value & 0xFF != CLOSE_NOTIFY:
        state: SessionState = session.get_app_data()
        if where & SSL.SSL_CB_READ:
            state.alert_read = value & 0xFF
        else:
            state.alert_written = value & 0xFF


def verify(session: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
    """Verify callback: called for every error, and then from the root down for what is good so far."""
    state: SessionState = session.get_app_data()
    policy = state.policy
    if not ok:
        if code in _CRL_MISSING and fingerprint(certificate) in policy.anchor_digests:
            # RFC 5280 section 6.1: the trust anchor is not part of the path, so nobody has to vouch for it.
            return True
        if not state.verify_code:
            state.verify_code, state.depth, state.suspect = code, depth, certificate
        return policy.skip_verify
    if policy.pins and (depth == 0 or not policy.skip_verify):
        state.pins_seen.append(_pin_of(certificate))
    if depth:
        return True
    state.is_accepted = _accepts_leaf(state, certificate)
    return state.is_accepted


def find_name_problem(leaf: X509, expected_name: str) -> NameProblem | None:
    """How `leaf` fails to be for the name; None: it is for it. Never raises."""
    try:
        check_name(leaf.to_cryptography(), expected_name)
    except x509.ExtensionNotFound:
        return NameProblem.NO_SUBJECT_ALT_NAME
    except Exception:  # noqa: BLE001 (whatever goes wrong in looking at a hostile certificate is a refusal)
        return NameProblem.IP_MISMATCH if is_ip_address(expected_name) else NameProblem.NAME_MISMATCH
    return None


def _accepts_leaf(state: SessionState, leaf: X509) -> bool:
    policy = state.policy
    if not policy.skip_verify:
        state.name_problem = find_name_problem(leaf, state.expected_name)
        if state.name_problem is not None:
            state.suspect = leaf
            return False
    state.is_pin_mismatch = bool(policy.pins) and policy.pins.isdisjoint(state.pins_seen)
    return not state.is_pin_mismatch


def _pin_of(certificate: X509) -> str:
    """Empty, which equals no pin, when OpenSSL reads a certificate that cryptography cannot."""
    try:
        return spki_sha256(certificate.to_cryptography())
    except ValueError:
        return ""


def fingerprint(certificate: X509) -> bytes:
    """sha256 of the certificate, as OpenSSL prints it."""
    return certificate.digest("sha256")
