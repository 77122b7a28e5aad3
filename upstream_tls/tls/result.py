"""What a connection test found, as plain values and as the API's document.

Laws of this module: no I/O, no judgement; what a stranger wrote (names in certificates) was made safe to print by
`upstream_tls.tls.peer`. `as_document` is the shape of `docs/upstream-mtls.md`; keys never change their meaning.
"""

import datetime
from dataclasses import asdict, dataclass
from typing import Any

from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.tls.peer import PresentedCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """One upstream and what to ask it for. `address` is a DNS name or an IP literal without brackets.

    Raises ValueError when the Host field or the path would not stay within their lines.
    """

    address: str
    port: int
    host_field: str
    path: str = "/"

    def __post_init__(self) -> None:
        for text in (self.host_field, self.path):
            if not text.isascii() or not text.isprintable() or " " in text:
                raise ValueError("Host field and path consist of printable ASCII without spaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How long each stage took, in milliseconds; None: not reached, or not finished."""

    dns_ms: int | None = None
    tcp_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSFacts:
    """What was negotiated. `alpn` is empty when the upstream chose none.

    `acceptable_ca_names` are RFC 4514 strings, in the upstream's order; empty when it named none or asked for nothing.
    """

    version: str
    cipher: str
    alpn: str
    client_certificate_requested: bool
    client_certificate_sent: bool
    acceptable_ca_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The outcome of one test.

    `success`: the handshake finished, the upstream's certificate verified (or verification is off) and the upstream did
    not refuse ours; any HTTP status but a refusal of the certificate is a success. `verified`: the upstream's
    certificate was checked and is good. `tls` is None when the upstream never answered in TLS.
    `warnings` are sentences for operators. `offered_anchor_pem`: what would have to be trusted for the chain to verify;
    empty unless that is what is missing (`upstream_tls.tls.offered`).
    """

    target: ProbeTarget
    server_name: str
    success: bool
    verified: bool
    tested_at: datetime.datetime
    duration_ms: int
    timeout_s: float
    stages: Stages
    tls: TLSFacts | None = None
    http_status: int | None = None
    chain: tuple[PresentedCertificate, ...] = ()
    error: Diagnosis | None = None
    warnings: tuple[str, ...] = ()
    offered_anchor_pem: str = ""


def as_document(result: ProbeResult) -> dict[str, Any]:
    """The result as the API answers it; the caller adds the id of the upstream."""
    return {
        "success": result.success,
        "upstream": {
            "address": result.target.address,
            "port": result.target.port,
            "server_name": result.server_name,
        },
        "tested_at": _timestamp(result.tested_at),
        "duration_ms": result.duration_ms,
        "timeout_s": result.timeout_s,
        "stages": asdict(result.stages),
        "tls": _tls_document(result.tls),
        "http": None if result.http_status is None else {"status": result.http_status},
        "chain": [_certificate_document(certificate) for certificate in result.chain],
        "verified": result.verified,
        "error": None if result.error is None else asdict(result.error),
        "warnings": list(result.warnings),
        "offered_anchor_pem": result.offered_anchor_pem,
    }


def _tls_document(facts: TLSFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {**asdict(facts), "acceptable_ca_names": list(facts.acceptable_ca_names)}


def _certificate_document(certificate: PresentedCertificate) -> dict[str, Any]:
    return {
        **asdict(certificate),
        "not_before": _timestamp(certificate.not_before),
        "not_after": _timestamp(certificate.not_after),
        "subject_alt_names": list(certificate.subject_alt_names),
    }


def _timestamp(moment: datetime.datetime | None) -> str | None:
    """RFC 3339 in UTC. None: the certificate's own time cannot be read."""
    return None if moment is None else moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
