"""The honest connection test: one request over the very TLS that traffic uses, and what came of it.

Laws of this module:
- `timeout_s` bounds everything together, retries included, whatever the upstream does.
- Never raises for what the network or the peer does. Problems of the configuration are results as well.
- A success is claimed only after the upstream has answered: a finished handshake proves nothing in TLS 1.3.
- No secret in any result.
"""

import dataclasses
import datetime
import time
from collections.abc import Iterable

from cryptography import x509

from upstream_tls.tls.attempt import attempt
from upstream_tls.tls.cautions import cautions
from upstream_tls.tls.context import ClientContext, build_context
from upstream_tls.tls.conversation import Attempt, Deadline
from upstream_tls.tls.diagnosis import Diagnosis, diagnose, diagnose_configuration
from upstream_tls.tls.evidence import Evidence
from upstream_tls.tls.material import SpecProblem
from upstream_tls.tls.offered import CODES, offered_anchor
from upstream_tls.tls.peer import acceptable_ca_names, describe_presented, presented_chain
from upstream_tls.tls.result import ProbeResult, ProbeTarget, Stages, TLSFacts, as_document
from upstream_tls.tls.session import SessionState
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.tls.verdict import (
    evidence_of,
    is_answered,
    is_demand_for_certificate,
    own_expiry,
    without_certificate,
)

__all__ = ["ProbeResult", "ProbeTarget", "as_document", "probe"]

TIMEOUT_S = 5.0


def probe(
    spec: UpstreamTLSSpec,
    target: ProbeTarget,
    *,
    timeout_s: float = TIMEOUT_S,
    known_certificates: Iterable[x509.Certificate] = (),
) -> ProbeResult:
    """Tests the connection to one upstream. Blocks for at most `timeout_s`.

    `known_certificates` are those that may have issued the upstream's: with them a missing intermediate is told from an
    unknown authority more often.
    """
    return _Probe(spec, target, timeout_s, tuple(known_certificates)).run()


class _Probe:
    """One test under way."""

    def __init__(
        self, spec: UpstreamTLSSpec, target: ProbeTarget, timeout_s: float, known: tuple[x509.Certificate, ...]
    ) -> None:
        self._spec = spec
        self._target = target
        self._timeout_s = timeout_s
        self._known = known
        self._deadline = Deadline(timeout_s)
        self._begun = time.monotonic()
        self._tested_at = datetime.datetime.now(datetime.UTC)

    def run(self) -> ProbeResult:
        try:
            context = build_context(self._spec)
            if error := own_expiry(context, self._tested_at):
                return self._result(context, None, error)
            record = attempt(context, self._target, self._deadline)
        except SpecProblem as problem:
            return self._result(None, None, diagnose_configuration(problem.code, problem.message, problem.field))
        return self._result(context, record, self._error(context, record))

    def _error(self, context: ClientContext, record: Attempt) -> Diagnosis | None:
        if is_answered(record):
            return None
        evidence = self._evidence(context, record)
        if record.is_silent_end and evidence.client_certificate_sent:
            evidence = dataclasses.replace(evidence, refused_without_certificate=self._is_refused_without_certificate())
        return diagnose(evidence)

    def _is_refused_without_certificate(self) -> bool:
        """After a silent end: whether the same upstream demands a certificate when none is sent."""
        context = build_context(without_certificate(self._spec))
        record = attempt(context, self._target, self._deadline)
        return is_demand_for_certificate(record, self._evidence(context, record))

    def _evidence(self, context: ClientContext, record: Attempt) -> Evidence:
        return evidence_of(context, record, self._target.address, timeout_s=self._timeout_s, known=self._known)

    def _result(self, context: ClientContext | None, record: Attempt | None, error: Diagnosis | None) -> ProbeResult:
        facts = ProbeResult(
            target=self._target,
            server_name=self._spec.server_name or self._target.address,
            success=error is None,
            verified=False,
            tested_at=self._tested_at,
            duration_ms=round((time.monotonic() - self._begun) * 1000),
            timeout_s=self._timeout_s,
            stages=Stages(),
            error=error,
        )
        if context is None or record is None:
            return facts
        state: SessionState = record.session.get_app_data()
        chain = presented_chain(record.session)
        return dataclasses.replace(
            facts,
            server_name=context.server_name(self._target.address) or state.expected_name,
            verified=record.is_established and state.is_accepted and not self._spec.skip_verify,
            stages=Stages(**record.milliseconds),
            tls=_tls_facts(record, is_answered=bool(chain)),
            http_status=record.answer.status if record.answer else None,
            chain=tuple(describe_presented(certificate) for certificate in chain),
            warnings=cautions(self._evidence(context, record), is_skipped=self._spec.skip_verify, error=error),
            offered_anchor_pem=offered_anchor(chain) if error is not None and error.code in CODES else "",
        )


def _tls_facts(record: Attempt, *, is_answered: bool) -> TLSFacts | None:
    session = record.session
    if not is_answered and not record.is_established:
        return None
    state: SessionState = session.get_app_data()
    return TLSFacts(
        version=session.get_protocol_version_name(),
        cipher=session.get_cipher_name() or "",
        alpn=record.alpn,
        client_certificate_requested=state.certificate_requested,
        client_certificate_sent=state.certificate_sent,
        acceptable_ca_names=acceptable_ca_names(session) if state.certificate_requested else (),
    )
