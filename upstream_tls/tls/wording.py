"""The words that fill the causes and fixes of `remedies`: what the evidence says, in a person's language.

Laws of this module: pure; every word that a remedy uses is here, whatever is missing in the evidence.
"""

import datetime

from upstream_tls.tls.evidence import Evidence, HTTPRefusal, Stage, Suspect

UNKNOWN_SUSPECT = Suspect(
    subject="(unknown)",
    issuer="(unknown)",
    issuer_key_id="",
    not_before=None,
    not_after=None,
    fingerprint_sha256="",
    spki_sha256="(unknown)",
)

_STAGE_WORDS = {
    Stage.CONFIGURATION: "before connecting",
    Stage.DNS: "while its name was looked up",
    Stage.TCP: "while the connection was opened",
    Stage.TLS: "in the TLS handshake",
    Stage.HTTP: "after the TLS handshake, before it had answered the request",
}

_LISTED_NAMES = 10


def moment(time: datetime.datetime | None) -> str:
    """RFC 3339 to the second, in UTC, as Go prints it."""
    return "(unknown)" if time is None else time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def words_of(evidence: Evidence) -> dict[str, str]:
    """All words, by the name under which the remedies use them."""
    suspect = evidence.suspect or UNKNOWN_SUSPECT
    client = evidence.client
    return {
        "address": evidence.address or "the upstream",
        "timeout": "the time allowed" if evidence.timeout_s is None else f"{evidence.timeout_s:g} s",
        "stage": _STAGE_WORDS[evidence.stage],
        "errno": str(evidence.errno),
        "now": moment(evidence.now),
        "subject": suspect.subject or "(no subject)",
        "issuer": suspect.issuer or "(no issuer)",
        "key_id": f" (key id {suspect.issuer_key_id})" if suspect.issuer_key_id else "",
        "not_before": moment(suspect.not_before),
        "not_after": moment(suspect.not_after),
        "fingerprint": suspect.fingerprint_sha256,
        "pin": suspect.spki_sha256,
        "pins": ", ".join(evidence.pins),
        "position": _position(evidence.depth),
        "trust": "the system trust store" if evidence.is_system_trust else "CA Certificate",
        "verify_code": str(evidence.verify_code),
        "expected": evidence.expected_name or "the upstream's address",
        "names": listed(evidence.names) or "no name of this kind",
        "dns_names": listed(evidence.dns_names) or "no DNS name either",
        "name_field": "verify_name" if evidence.is_verify_name else "server_name",
        "name_field_label": "Verify Name" if evidence.is_verify_name else "Server Name Override",
        "misdirected": _misdirected(evidence),
        "ours": "(none)" if client is None else client.subject,
        "our_issuer": "(none)" if client is None else client.issuer,
        "our_not_after": "(none)" if client is None else moment(client.not_after),
        "sent": _sent(evidence),
        "how": _how(evidence),
        "acceptable": _acceptable(evidence),
    }


def listed(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    text = ", ".join(names[:_LISTED_NAMES])
    return f"{text} and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else text


def _position(depth: int) -> str:
    return "the upstream's own" if depth == 0 else f"number {depth} above the upstream's own"


def _misdirected(evidence: Evidence) -> str:
    if evidence.http_status is None:
        return ""
    return ": it answered 421 Misdirected Request, because the name in the TLS handshake and the Host field disagree"


def _sent(evidence: Evidence) -> str:
    if evidence.client_certificate_sent:
        return "does not take the one that was sent"
    if evidence.client is None:
        return "none is configured"
    return "the configured one was not sent: its key has no signature algorithm that the upstream accepts"


def _how(evidence: Evidence) -> str:
    """What the refusal looked like when it was no alert."""
    if evidence.http_refusal is HTTPRefusal.NOT_ACCEPTED:
        return ": it answered 400 with the words of nginx for a certificate that does not verify"
    if evidence.alert_read is not None:
        return ""
    if evidence.refused_without_certificate:
        return ": it closes the connection without a word when this certificate is sent, and demands one when none is"
    return ", as it seems: it closed the connection without a word right after the certificate was sent"


def _acceptable(evidence: Evidence) -> str:
    """The acceptable-CA explainer: RFC 8446 section 4.2.4, RFC 5246 section 7.4.4."""
    if not evidence.acceptable_ca_names:
        return ""
    accepted = f" It accepts certificates of {listed(evidence.acceptable_ca_names)}"
    if evidence.client is None:
        return f"{accepted}."
    if evidence.client.is_acceptable:
        return (
            f"{accepted}, and ours, {evidence.client.issuer}, is among them: look at validity, usage and the CA's key."
        )
    return f"{accepted}, and ours, {evidence.client.issuer}, is not among them."
