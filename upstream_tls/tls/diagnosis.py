"""From the evidence of a failed attempt to a stable code, a message, a cause and a fix.

Laws of this module: numbers decide (verify code, alert and its direction, errno, stage), never OpenSSL's texts: two
OpenSSLs with different wording live in one process. Codes and messages are those of `docs/diagnosis.md`; messages are
Go's wording, which people search for. Pure: no I/O, no clock.
"""

import dataclasses
import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from upstream_tls.tls.alerts import CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE, PROTOCOL_VERSION, alert_text
from upstream_tls.tls.answer import MISDIRECTED
from upstream_tls.tls.evidence import Evidence, HTTPRefusal, NameProblem, Stage, as_numbers
from upstream_tls.tls.names import is_ip_address
from upstream_tls.tls.remedies import CONFIGURATION_FIXES, REMEDIES
from upstream_tls.tls.wording import UNKNOWN_SUSPECT, moment, words_of

Confidence = Literal["certain", "likely"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`code` is stable, the rest is for operators; the end client sees nothing of it.

    `field` is the API's name of what to change, empty when it is not part of `upstream_tls`. `evidence` are numbers,
    stage and direction (`upstream_tls.tls.evidence.as_numbers`).
    """

    code: str
    message: str
    cause: str = ""
    fix: str = ""
    field: str = ""
    confidence: Confidence = "certain"
    evidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Verdict:
    code: str
    message: str
    confidence: Confidence = "certain"


_UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority"

# X509_V_ERR_* (openssl/x509_vfy.h) of the upstream's certificate.
VERIFY_CODES = {
    3: ("crl_unavailable", "x509: no certificate revocation list for CA"),
    12: ("crl_expired", "x509: certificate revocation list has expired"),
    18: ("self_signed", _UNKNOWN_AUTHORITY),
    19: ("unknown_authority", _UNKNOWN_AUTHORITY),
    20: ("unknown_authority", _UNKNOWN_AUTHORITY),
    21: ("unknown_authority", _UNKNOWN_AUTHORITY),
    23: ("revoked", "x509: certificate revoked"),
    26: ("wrong_purpose", "x509: certificate specifies an incompatible key usage"),
    33: ("crl_unavailable", "x509: no certificate revocation list for CA"),
    66: ("weak_key", "x509: certificate key too weak"),
    67: ("weak_key", "x509: certificate key too weak"),
    68: ("weak_signature", "x509: certificate signature algorithm too weak"),
}
_NOT_YET_VALID = 9
_EXPIRED = 10

# Those of the other verify errors that occur, in OpenSSL's words without its spelling of the day.
VERIFY_TEXTS = {
    7: "certificate signature failure",
    22: "certificate chain too long",
    24: "invalid CA certificate",
    25: "path length constraint exceeded",
    32: "key usage does not include certificate signing",
    34: "unhandled critical extension",
    41: "invalid or inconsistent certificate extension",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    79: "invalid CA certificate",
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

_ERRNO_CODES = {
    errno.ECONNREFUSED: ("connection_refused", "dial tcp {address}: connect: connection refused"),
    errno.ECONNRESET: ("connection_reset", "read tcp {address}: connection reset by peer"),
    errno.EPIPE: ("connection_reset", "write tcp {address}: broken pipe"),
    errno.ENETUNREACH: ("unreachable", "dial tcp {address}: connect: no route to host"),
    errno.EHOSTUNREACH: ("unreachable", "dial tcp {address}: connect: no route to host"),
}


def diagnose(evidence: Evidence) -> Diagnosis:
    """Why an attempt failed. What we refused comes first: the upstream's alerts only follow from it."""
    verdict = (
        _judge_by_us(evidence)
        or _judge_alpn(evidence)
        or _judge_by_upstream(evidence)
        or _judge_transport(evidence)
        or _judge_local_alert(evidence)
    )
    return _explain(verdict, evidence)


def diagnose_certificate(evidence: Evidence) -> Diagnosis | None:
    """What is wrong with the upstream's certificate alone, also when nobody insists on it; None: nothing."""
    verdict = _judge_certificate(evidence)
    return _explain(verdict, evidence) if verdict else None


def diagnose_own_expiry(evidence: Evidence) -> Diagnosis:
    """Our own certificate is over, which is known before anything is sent."""
    return _explain(_Verdict("client_certificate_not_after", "x509: certificate has expired"), evidence)


def diagnose_configuration(code: str, message: str, field_name: str) -> Diagnosis:
    """A problem that was found before anything was sent."""
    return Diagnosis(
        code=code,
        message=message,
        cause=message,
        fix=CONFIGURATION_FIXES.get(code, "Correct this field."),
        field=field_name,
        evidence=as_numbers(Evidence(stage=Stage.CONFIGURATION)),
    )


def _judge_by_us(evidence: Evidence) -> _Verdict | None:
    """Why we refused the upstream's certificate. With verification off only a pin can be the reason."""
    if not evidence.is_skipped and (verdict := _judge_certificate(evidence)):
        return verdict
    if evidence.is_pin_mismatch:
        return _Verdict("pin_mismatch", "pinned public key does not match")
    return None


def _judge_certificate(evidence: Evidence) -> _Verdict | None:
    if evidence.verify_code:
        return _judge_chain(evidence)
    if evidence.name_problem:
        return _Verdict(evidence.name_problem.value, _name_message(evidence))
    return None


def _judge_chain(evidence: Evidence) -> _Verdict:
    code = evidence.verify_code
    if evidence.is_missing_intermediate:
        return _Verdict("missing_intermediate", _UNKNOWN_AUTHORITY, "likely")
    if code in (_NOT_YET_VALID, _EXPIRED):
        return _judge_validity(evidence)
    if code in VERIFY_CODES:
        return _Verdict(*VERIFY_CODES[code])
    return _Verdict("chain_invalid", f"x509: {VERIFY_TEXTS.get(code, 'verification failed')} (verify error {code})")


def _judge_validity(evidence: Evidence) -> _Verdict:
    is_over = evidence.verify_code == _EXPIRED
    suspect = evidence.suspect or UNKNOWN_SUSPECT
    bound = suspect.not_after if is_over else suspect.not_before
    message = (
        f"x509: certificate has expired or is not yet valid: current time {moment(evidence.now)}"
        f" is {'after' if is_over else 'before'} {moment(bound)}"
    )
    return _Verdict("expired" if is_over else "not_yet_valid", message)


def _name_message(evidence: Evidence) -> str:
    expected = evidence.expected_name
    if evidence.name_problem is NameProblem.NO_SUBJECT_ALT_NAME:
        return "x509: certificate relies on legacy Common Name field, use SANs instead"
    if not evidence.names and is_ip_address(expected):
        return f"x509: cannot validate certificate for {expected} because it doesn't contain any IP SANs"
    if not evidence.names:
        return f"x509: certificate is not valid for any names, but wanted to match {expected}"
    return f"x509: certificate is valid for {', '.join(evidence.names)}, not {expected}"


def _judge_alpn(evidence: Evidence) -> _Verdict | None:
    if evidence.alpn:
        return _Verdict("alpn_mismatch", f"tls: upstream selected the protocol {evidence.alpn}")
    return None


def _judge_by_upstream(evidence: Evidence) -> _Verdict | None:
    """Our certificate, and what else the upstream complained of."""
    alert = evidence.alert_read
    if not evidence.looks_like_tls:
        return _Verdict("not_tls", "tls: first record does not look like a TLS handshake")
    if alert == HANDSHAKE_FAILURE and evidence.client_certificate_requested and not evidence.client_certificate_sent:
        return _required()
    if alert is not None:
        return _Verdict(ALERT_CODES.get(alert, "tls_alert"), f"remote error: tls: {alert_text(alert)}")
    return _judge_answer(evidence)


def _judge_answer(evidence: Evidence) -> _Verdict | None:
    """A refusal in HTTP, after a handshake that looked fine, or an answer that is no HTTP."""
    if evidence.http_refusal is HTTPRefusal.NONE_SENT:
        return _required()
    if evidence.http_refusal is HTTPRefusal.NOT_ACCEPTED:
        return _Verdict("client_certificate_rejected", "remote error: tls: unknown certificate")
    if evidence.http_status == MISDIRECTED:
        return _Verdict("unrecognized_name", "remote error: tls: unrecognized name")
    if evidence.is_malformed_answer:
        return _Verdict("malformed_response", "malformed HTTP response")
    return None


def _required() -> _Verdict:
    return _Verdict("client_certificate_required", f"remote error: tls: {alert_text(CERTIFICATE_REQUIRED)}")


def _judge_transport(evidence: Evidence) -> _Verdict | None:
    if evidence.timed_out or evidence.errno == errno.ETIMEDOUT:
        return _Verdict("timeout", "i/o timeout")
    if evidence.lookup_error is not None:
        reason = "server misbehaving" if evidence.lookup_error == socket.EAI_AGAIN else "no such host"
        return _Verdict("dns_failure", f"lookup {evidence.address}: {reason}")
    if evidence.peer_closed or evidence.errno in (errno.ECONNRESET, errno.EPIPE):
        return _judge_silent_end(evidence)
    if evidence.errno is not None:
        code, message = _ERRNO_CODES.get(evidence.errno, ("connect_failed", "dial tcp {address}: connect failed"))
        return _Verdict(code, message.format(address=evidence.address))
    return None


def _judge_silent_end(evidence: Evidence) -> _Verdict:
    """The upstream ended the connection and gave no reason. Right after our Certificate message that is one."""
    code, message = "connection_closed", "EOF"
    if not evidence.peer_closed:
        code, message = _ERRNO_CODES[evidence.errno or errno.ECONNRESET]
        message = message.format(address=evidence.address)
    if evidence.has_answered:
        return _Verdict(code, message)
    if evidence.client_certificate_sent:
        confidence: Confidence = "certain" if evidence.refused_without_certificate else "likely"
        return _Verdict("client_certificate_rejected", message, confidence)
    if evidence.client_certificate_requested:
        return _Verdict("client_certificate_required", message, "likely")
    return _Verdict(code, message)


def _judge_local_alert(evidence: Evidence) -> _Verdict:
    """OpenSSL ended the handshake over something that is no certificate."""
    if evidence.alert_written == PROTOCOL_VERSION:
        return _Verdict("protocol_version", "tls: server selected unsupported protocol version")
    alert = HANDSHAKE_FAILURE if evidence.alert_written is None else evidence.alert_written
    return _Verdict("handshake_failure", f"local error: tls: {alert_text(alert)}")


def _explain(verdict: _Verdict, evidence: Evidence) -> Diagnosis:
    remedy = REMEDIES[verdict.code]
    words = words_of(evidence)
    return Diagnosis(
        code=verdict.code,
        message=verdict.message,
        cause=remedy.cause.format_map(words),
        fix=remedy.fix.format_map(words),
        field=remedy.field.format_map(words),
        confidence=verdict.confidence,
        evidence=as_numbers(evidence),
    )
