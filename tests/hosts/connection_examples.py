"""A probe that opens no connection, and the results that tests of connection tests need."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.tls.peer import PresentedCertificate
from upstream_tls.tls.result import ProbeResult, ProbeTarget, Stages, TLSFacts
from upstream_tls.tls.spec import UpstreamTLSSpec

NOW = datetime.datetime(2026, 5, 1, 12, 30, tzinfo=datetime.UTC)

CERTIFICATE = PresentedCertificate(
    subject="CN=orders.internal",
    issuer="CN=Orders <CA>",
    serial_number="0a1b",
    not_before=NOW - datetime.timedelta(days=1),
    not_after=NOW + datetime.timedelta(days=30),
    subject_alt_names=("DNS:orders.internal",),
    fingerprint_sha256="ab" * 32,
    key_type="EC P-256",
    is_ca=False,
)
UNKNOWN_AUTHORITY = Diagnosis(
    code="unknown_authority",
    message="x509: certificate signed by unknown authority",
    cause="No configured CA has issued the upstream's certificate.",
    fix="Add the upstream's CA certificate to the CA Certificate field.",
    field="ca_certificate",
    confidence="certain",
    evidence={"stage": "tls", "verify_code": 20, "depth": 0, "alert": None},
)


def result(target: ProbeTarget, **changes: Any) -> ProbeResult:
    """A success, or whatever `changes` make of it."""
    values: dict[str, Any] = {
        "target": target,
        "server_name": "orders.internal",
        "success": True,
        "verified": True,
        "tested_at": NOW,
        "duration_ms": 17,
        "timeout_s": 5.0,
        "stages": Stages(dns_ms=0, tcp_ms=1, tls_ms=12, first_byte_ms=3),
        "tls": TLSFacts(
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            alpn="http/1.1",
            client_certificate_requested=True,
            client_certificate_sent=True,
            acceptable_ca_names=("CN=Orders CA",),
        ),
        "http_status": 200,
        "chain": (CERTIFICATE,),
    }
    return ProbeResult(**{**values, **changes})


def failure(target: ProbeTarget, **changes: Any) -> ProbeResult:
    """The upstream's certificate is not trusted."""
    stages = Stages(dns_ms=0, tcp_ms=1, tls_ms=12)
    values = {"success": False, "verified": False, "stages": stages, "http_status": None, "error": UNKNOWN_AUTHORITY}
    return result(target, **{**values, **changes})


@dataclass
class FakeProbe:
    """Stands in for `upstream_tls.tls.probe.probe`; `answer` makes the result."""

    answer: Callable[[ProbeTarget], ProbeResult] = result
    specs: list[UpstreamTLSSpec] = field(default_factory=list)
    targets: list[ProbeTarget] = field(default_factory=list)

    def __call__(
        self, spec: UpstreamTLSSpec, target: ProbeTarget, *, timeout_s: float, known_certificates: object
    ) -> ProbeResult:
        self.specs.append(spec)
        self.targets.append(target)
        return self.answer(target)
