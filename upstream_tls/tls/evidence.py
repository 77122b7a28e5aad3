"""What was seen of an attempt at an upstream: numbers, directions, stages. The material of `diagnosis`.

Laws of this module: plain values; nothing here decides what they mean. Texts that an upstream wrote are safe to print.
"""

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from upstream_tls.tls.alerts import alert_text


class Stage(StrEnum):
    """How far an attempt came."""

    CONFIGURATION = "configuration"
    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    HTTP = "http"


class NameProblem(StrEnum):
    """How the upstream's certificate fails to be for the name that was asked for; the values are codes."""

    NAME_MISMATCH = "name_mismatch"
    IP_MISMATCH = "ip_mismatch"
    NO_SUBJECT_ALT_NAME = "no_subject_alt_name"


class HTTPRefusal(StrEnum):
    """An HTTP answer that refuses a client certificate, instead of an alert."""

    NONE_SENT = "none_sent"
    NOT_ACCEPTED = "not_accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """The certificate that a verify error is about. `issuer_key_id` is hex, empty when unknown."""

    subject: str
    issuer: str
    issuer_key_id: str
    not_before: datetime.datetime | None
    not_after: datetime.datetime | None
    fingerprint_sha256: str
    spki_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """The certificate to be presented. `is_acceptable`: the upstream's CA names include one of its chain's issuers."""

    subject: str
    issuer: str
    not_after: datetime.datetime
    is_acceptable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One failed attempt.

    `address` is what was dialled, host and port. `verify_code` is OpenSSL's first X509_V_ERR number (0: none) at
    `depth` of the chain. `is_skipped`: verification is off, so that neither this nor a name was the reason. `names`
    are those of the certificate that are of the kind of `expected_name`, `dns_names` the DNS names in any case.
    `alert_read` was sent by the upstream, `alert_written` by us (None: no alert). `looks_like_tls`: the upstream's
    first bytes were a TLS record's. `is_established`: the handshake was finished as far as a client can tell, which
    in TLS 1.3 says nothing about our certificate. `alpn` is a protocol that the upstream chose and Aegis does not
    speak. `has_answered`: the upstream had answered on this connection before, so it took our certificate.
    `refused_without_certificate`: a second attempt without our certificate was answered with a demand for one.
    """

    stage: Stage
    address: str = ""
    now: datetime.datetime | None = None
    timeout_s: float | None = None
    # The upstream's certificate, judged by us
    verify_code: int = 0
    depth: int = 0
    suspect: Suspect | None = None
    is_system_trust: bool = False
    is_skipped: bool = False
    is_missing_intermediate: bool = False
    name_problem: NameProblem | None = None
    names: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    expected_name: str = ""
    is_verify_name: bool = False
    is_pin_mismatch: bool = False
    pins: tuple[str, ...] = ()
    # What went over the wire
    alert_read: int | None = None
    alert_written: int | None = None
    looks_like_tls: bool = True
    is_established: bool = False
    has_answered: bool = False
    alpn: str = ""
    # Our certificate, judged by the upstream
    client: ClientIdentity | None = None
    client_certificate_requested: bool = False
    client_certificate_sent: bool = False
    acceptable_ca_names: tuple[str, ...] = ()
    refused_without_certificate: bool = False
    http_status: int | None = None
    http_refusal: HTTPRefusal | None = None
    is_malformed_answer: bool = False
    # The transport
    peer_closed: bool = False
    errno: int | None = None
    lookup_error: int | None = None
    timed_out: bool = False


def as_numbers(evidence: Evidence) -> dict[str, Any]:
    """The part of the evidence that goes into reports: stage, numbers, directions."""
    return {
        "stage": str(evidence.stage),
        "verify_code": evidence.verify_code or None,
        "depth": evidence.depth if evidence.verify_code or evidence.name_problem else None,
        "alert": _alert(evidence),
        "errno": evidence.errno or evidence.lookup_error,
        "http_status": evidence.http_status,
    }


def _alert(evidence: Evidence) -> dict[str, Any] | None:
    """The upstream's alert counts for more than ours: ours may only answer it."""
    for direction, number in (("read", evidence.alert_read), ("write", evidence.alert_written)):
        if number is not None:
            return {"direction": direction, "number": number, "text": alert_text(number)}
    return None
