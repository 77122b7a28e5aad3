"""From the evidence of a failed handshake to a stable code and a message.

Laws of this module: numbers decide (verify code, alert and its direction), never OpenSSL's texts: two OpenSSLs with
different wording live in one process. Codes and messages are those of `docs/diagnosis.md`; messages are Go's wording,
which people search for. Pure: no I/O, no clock.
"""

from dataclasses import dataclass
from enum import StrEnum


class NameProblem(StrEnum):
    """How the upstream's certificate fails to be for the name that was asked for."""

    NAME_MISMATCH = "name_mismatch"
    IP_MISMATCH = "ip_mismatch"
    NO_SUBJECT_ALT_NAME = "no_subject_alt_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeEvidence:
    """What was seen of a TLS session that failed.

    `verify_code` is OpenSSL's first X509_V_ERR number (0: none) at `depth` of the chain. `alert_read` was sent by the
    upstream, `alert_written` by us (None: no alert). `looks_like_tls`: the upstream's first byte was a TLS record's.
    `names` are the subject alternative names that the upstream's certificate has, when its name was the problem.
    """

    verify_code: int = 0
    depth: int = 0
    name_problem: NameProblem | None = None
    names: tuple[str, ...] = ()
    expected_name: str = ""
    alert_read: int | None = None
    alert_written: int | None = None
    looks_like_tls: bool = True
    peer_closed: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`code` is stable, `message` is for operators; the end client sees neither."""

    code: str
    message: str


_UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority"
_VALIDITY = "x509: certificate has expired or is not yet valid"

# X509_V_ERR_* (openssl/x509_vfy.h) of the upstream's certificate.
VERIFY_CODES = {
    3: Diagnosis("crl_unavailable", "x509: no certificate revocation list for CA"),
    9: Diagnosis("not_yet_valid", _VALIDITY),
    10: Diagnosis("expired", _VALIDITY),
    12: Diagnosis("crl_expired", "x509: certificate revocation list has expired"),
    18: Diagnosis("self_signed", _UNKNOWN_AUTHORITY),
    19: Diagnosis("unknown_authority", _UNKNOWN_AUTHORITY),
    20: Diagnosis("unknown_authority", _UNKNOWN_AUTHORITY),
    21: Diagnosis("unknown_authority", _UNKNOWN_AUTHORITY),
    23: Diagnosis("revoked", "x509: certificate revoked"),
    26: Diagnosis("wrong_purpose", "x509: certificate specifies an incompatible key usage"),
    66: Diagnosis("weak_key", "x509: certificate key too weak"),
    67: Diagnosis("weak_key", "x509: certificate key too weak"),
    68: Diagnosis("weak_signature", "x509: certificate signature algorithm too weak"),
}

# Alert descriptions in Go's words (RFC 8446 section 6, RFC 5246 section 7.2).
ALERT_TEXTS = {
    0: "close notify",
    10: "unexpected message",
    20: "bad record MAC",
    21: "decryption failed",
    22: "record overflow",
    30: "decompression failure",
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "revoked certificate",
    45: "expired certificate",
    46: "unknown certificate",
    47: "illegal parameter",
    48: "unknown certificate authority",
    49: "access denied",
    50: "error decoding message",
    51: "error decrypting message",
    60: "export restriction",
    70: "protocol version not supported",
    71: "insufficient security level",
    80: "internal error",
    86: "inappropriate fallback",
    90: "user canceled",
    100: "no renegotiation",
    109: "missing extension",
    110: "unsupported extension",
    112: "unrecognized name",
    113: "bad certificate status response",
    115: "unknown PSK identity",
    116: "certificate required",
    120: "no application protocol",
    121: "encrypted client hello required",
}

# What an alert that the upstream sent says about us.
ALERT_CODES = {
    40: "handshake_failure",
    42: "client_certificate_bad",
    43: "client_certificate_wrong_purpose",
    44: "client_certificate_revoked",
    45: "client_certificate_expired",
    46: "client_certificate_rejected",
    48: "client_certificate_untrusted",
    49: "client_certificate_rejected",
    51: "client_certificate_rejected",
    70: "protocol_version",
    71: "handshake_failure",
    112: "unrecognized_name",
    116: "client_certificate_required",
    120: "alpn_mismatch",
}


def diagnose_handshake(evidence: HandshakeEvidence) -> Diagnosis:
    """The cause of a failed TLS session. What we refused comes first: the upstream's alerts only follow from it."""
    if evidence.verify_code:
        return VERIFY_CODES.get(evidence.verify_code) or Diagnosis(
            "chain_invalid", f"x509: certificate chain is invalid (verify error {evidence.verify_code})"
        )
    if evidence.name_problem:
        return _diagnose_name(evidence.name_problem, evidence)
    if not evidence.looks_like_tls:
        return Diagnosis("not_tls", "tls: first record does not look like a TLS handshake")
    return _diagnose_remote(evidence)


def _diagnose_remote(evidence: HandshakeEvidence) -> Diagnosis:
    if evidence.alert_read is not None:
        text = ALERT_TEXTS.get(evidence.alert_read, f"alert({evidence.alert_read})")
        return Diagnosis(ALERT_CODES.get(evidence.alert_read, "tls_alert"), f"remote error: tls: {text}")
    if evidence.peer_closed:
        return Diagnosis("connection_closed", "EOF")
    if evidence.alert_written == 70:
        return Diagnosis("protocol_version", "tls: server selected unsupported protocol version")
    return Diagnosis("handshake_failure", "tls: handshake failure")


def _diagnose_name(problem: NameProblem, evidence: HandshakeEvidence) -> Diagnosis:
    match problem:
        case NameProblem.NO_SUBJECT_ALT_NAME:
            message = "x509: certificate relies on legacy Common Name field, use SANs instead"
        case NameProblem.IP_MISMATCH:
            message = (
                f"x509: cannot validate certificate for {evidence.expected_name} because it doesn't contain any IP SANs"
            )
        case NameProblem.NAME_MISMATCH:
            names = ", ".join(evidence.names) or "no name"
            message = f"x509: certificate is valid for {names}, not {evidence.expected_name}"
    return Diagnosis(problem.value, message)
