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

from upstream_tls.tls.attempt import Attempt, Deadline, attempt
from upstream_tls.tls.cautions import cautions
from upstream_tls.tls.context import ClientContext, build_context
from upstream_tls.tls.diagnosis import Diagnosis, diagnose, diagnose_configuration, diagnose_own_expiry
from upstream_tls.tls.evidence import Evidence, Stage
from upstream_tls.tls.material import SpecProblem
from upstream_tls.tls.peer import acceptable_ca_names, describe_presented, presented_chain
from upstream_tls.tls.result import ProbeResult, ProbeTarget, Stages, TLSFacts, as_document
from upstream_tls.tls.session import SessionState
from upstream_tls.tls.spec import UpstreamTLSSpec

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
            if error := self._own_expiry(context):
                return self._result(context, None, error)
            record = attempt(context, self._target, self._deadline)
        except SpecProblem as problem:
            return self._result(None, None, diagnose_configuration(problem.code, problem.message, problem.field))
        return self._result(context, record, self._error(context, record))

    def _own_expiry(self, context: ClientContext) -> Diagnosis | None:
        client = context.client_identity()
        if client is None or client.not_after >= self._tested_at:
            return None
        return diagnose_own_expiry(Evidence(stage=Stage.CONFIGURATION, now=self._tested_at, client=client))

    def _error(self, context: ClientContext, record: Attempt) -> Diagnosis | None:
        if record.answer is not None and not record.is_broken and not _is_refusal(record):
            return None
        evidence = self._evidence(context, record)
        if record.is_silent_end and evidence.client_certificate_sent:
            evidence = dataclasses.replace(evidence, refused_without_certificate=self._is_refused_without_certificate())
        return diagnose(evidence)

    def _is_refused_without_certificate(self) -> bool:
        """After a silent end: whether the same upstream demands a certificate when none is sent."""
        bare = dataclasses.replace(self._spec, client_chain_pem=b"", client_key_pem=b"")
        context = build_context(bare)
        record = attempt(context, self._target, self._deadline)
        if not (record.is_broken or _is_refusal(record)):
            return False
        verdict = diagnose(self._evidence(context, record))
        return verdict.code == "client_certificate_required" and verdict.confidence == "certain"

    def _evidence(self, context: ClientContext, record: Attempt) -> Evidence:
        seen = context.evidence(
            record.session,
            first_bytes=record.first_bytes,
            peer_closed=record.peer_closed,
            is_established=record.is_established,
            known=self._known,
        )
        return dataclasses.replace(
            seen,
            stage=record.stage,
            address=self._target.address if record.stage is Stage.DNS else record.address,
            timeout_s=self._timeout_s,
            alpn=record.alpn if record.is_established and record.answer is None else "",
            http_status=record.answer.status if record.answer else None,
            http_refusal=record.answer.refusal if record.answer else None,
            errno=record.errno,
            lookup_error=record.lookup_error,
            timed_out=record.timed_out,
        )

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
        )


def _is_refusal(record: Attempt) -> bool:
    """Whether the upstream answered in HTTP that it does not want us."""
    return record.answer is not None and (record.answer.refusal is not None or record.answer.status == 421)


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
