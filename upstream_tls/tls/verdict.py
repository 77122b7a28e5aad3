"""What an attempt at an upstream amounts to: accepted or not, and the evidence of why.

Laws of this module: connection tests and health checks judge here, so that they cannot disagree. Pure.
"""

import datetime
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cryptography import x509

from upstream_tls.tls.context import ClientContext
from upstream_tls.tls.conversation import Attempt, Progress
from upstream_tls.tls.diagnosis import Diagnosis, diagnose, diagnose_own_expiry
from upstream_tls.tls.evidence import Evidence, Stage
from upstream_tls.tls.spec import UpstreamTLSSpec


def own_expiry(context: ClientContext, now: datetime.datetime) -> Diagnosis | None:
    """Why nothing needs to be sent: our own certificate is over."""
    client = context.client_identity()
    if client is None or client.not_after >= now:
        return None
    return diagnose_own_expiry(Evidence(stage=Stage.CONFIGURATION, now=now, client=client))


def is_answered(record: Progress) -> bool:
    """Whether the upstream took us and answered in HTTP, with whatever status."""
    answer = record.answer
    return answer is not None and answer.status is not None and not record.is_broken and not answer.is_refusal


def is_demand_for_certificate(record: Attempt, evidence: Evidence) -> bool:
    """Of an attempt without our certificate: whether it was the lack of one that the upstream minded."""
    if is_answered(record):
        return False
    verdict = diagnose(evidence)
    return verdict.code == "client_certificate_required" and verdict.confidence == "certain"


def without_certificate(spec: UpstreamTLSSpec) -> UpstreamTLSSpec:
    """The same, presenting nothing."""
    return replace(spec, client_chain_pem=b"", client_key_pem=b"")


def evidence_of(
    context: ClientContext, record: Attempt, address: str, *, timeout_s: float, known: Iterable[x509.Certificate]
) -> Evidence:
    """What was seen of an attempt over TLS at the upstream whose name or address is `address`."""
    seen = context.evidence(
        record.session,
        first_bytes=record.first_bytes,
        peer_closed=record.peer_closed,
        is_established=record.is_established,
        known=known,
    )
    return replace(seen, **_transport(record, address, timeout_s))


def evidence_without_tls(record: Progress, address: str, *, timeout_s: float) -> Evidence:
    """The same of an attempt that did without TLS."""
    return Evidence(peer_closed=record.peer_closed, **_transport(record, address, timeout_s))


def _transport(record: Progress, address: str, timeout_s: float) -> dict[str, Any]:
    return {
        "stage": record.stage,
        "address": address if record.stage is Stage.DNS else record.address,
        "timeout_s": timeout_s,
        "http_status": record.answer.status if record.answer else None,
        "http_refusal": record.answer.refusal if record.answer else None,
        "is_malformed_answer": record.answer is not None and record.answer.is_malformed,
        "has_answered": record.got_answer_bytes,
        "errno": record.errno,
        "lookup_error": record.lookup_error,
        "timed_out": record.timed_out,
    }
