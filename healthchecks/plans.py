"""What checking the upstreams of a host takes: the TLS context of its traffic, and the request.

Laws of this module:
- TLS comes from the host's stored configuration by `upstream_tls.services.spec_of` and the one builder, as in the
  traffic and in connection tests; there is no other way to a context here.
- A plan is kept as long as its host does not change, and no longer than PLAN_LIFETIME: opening keys and parsing
  certificates for each check would take most of a core. Hosts of one identity share its context.
- What cannot be used is a failure with its reason, never a laxer check.
"""

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography import x509

from aegis_site.kernel.errors import AegisError
from healthchecks.answer import Request, headers_of
from healthchecks.check import Job
from healthchecks.claims import Claim
from healthchecks.models import CheckKind, HealthCheck
from healthchecks.section import SECTION
from healthchecks.validators import parse_statuses
from hosts.connection_tests import host_field_of
from hosts.models import Host, Scheme, Upstream
from upstream_tls.selectors import known_certificates
from upstream_tls.services import spec_of
from upstream_tls.tls.context import ClientContext, SharedContexts
from upstream_tls.tls.diagnosis import Diagnosis, diagnose_configuration
from upstream_tls.tls.material import SpecProblem

# The system's trust store, and what is known of other hosts' CAs, change without the host.
PLAN_LIFETIME = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The jobs of one host in one version."""

    version: datetime.datetime
    valid_until: datetime.datetime
    jobs: dict[uuid.UUID, Job] = field(repr=False)


_TLS: TypeAlias = tuple[ClientContext | None, Diagnosis | None]


class Plans:
    """Makes jobs of claims. One object for a process; not to be shared between threads."""

    def __init__(self) -> None:
        self._plans: dict[uuid.UUID, _Plan] = {}
        self._contexts = SharedContexts()
        self._known: tuple[x509.Certificate, ...] = ()
        self._known_until: datetime.datetime | None = None

    def jobs_for(self, claims: Sequence[Claim], *, now: datetime.datetime) -> list[tuple[Claim, Job]]:
        """The jobs of those claims whose upstream is still there. No query when all plans are at hand."""
        versions = {claim.host_id: claim.host_version for claim in claims}
        stale = [host_id for host_id, version in versions.items() if not self._is_current(host_id, version, now)]
        if stale:
            self._load(stale, now)
        jobs = []
        for claim in claims:
            plan = self._plans.get(claim.host_id)
            job = plan.jobs.get(claim.upstream_id) if plan is not None else None
            if job is not None:
                jobs.append((claim, job))
        return jobs

    def _is_current(self, host_id: uuid.UUID, version: datetime.datetime, now: datetime.datetime) -> bool:
        plan = self._plans.get(host_id)
        return plan is not None and plan.version == version and now < plan.valid_until

    def _load(self, host_ids: Sequence[uuid.UUID], now: datetime.datetime) -> None:
        self._plans = {host_id: plan for host_id, plan in self._plans.items() if now < plan.valid_until}
        if self._known_until is None or now >= self._known_until:
            self._known, self._known_until = known_certificates(), now + PLAN_LIFETIME
        found = Host.objects.with_configuration().in_bulk(list(host_ids))
        for host_id in host_ids:
            if (host := found.get(host_id)) is None:
                self._plans.pop(host_id, None)
            else:
                self._plans[host_id] = _plan(host, self._contexts, self._known, now)


def _plan(host: Host, contexts: SharedContexts, known: tuple[x509.Certificate, ...], now: datetime.datetime) -> _Plan:
    configuration = host.upstream_configuration
    valid_until = now + PLAN_LIFETIME
    if configuration.is_verification_skipped(now) and configuration.skip_verify_until is not None:
        valid_until = min(valid_until, configuration.skip_verify_until)
    check = SECTION.row_of(host)
    tls = _tls(host, contexts)
    domains = [domain.name for domain in host.domains.all()]
    jobs = {
        upstream.pk: _job(upstream, check, _request(host, domains, upstream, check), tls, known)
        for upstream in host.upstreams.all()
    }
    return _Plan(version=host.updated_at, valid_until=valid_until, jobs=jobs)


def _tls(host: Host, contexts: SharedContexts) -> _TLS:
    """The context of the host's traffic, or why there is none."""
    try:
        return contexts.get(spec_of(host.upstream_configuration)), None
    except SpecProblem as problem:
        return None, diagnose_configuration(problem.code, problem.message, problem.field)
    except AegisError as error:  # the key does not open
        return None, diagnose_configuration(error.code, error.message, "client_key")


def _request(host: Host, domains: Sequence[str], upstream: Upstream, check: HealthCheck) -> Request | None:
    if check.kind == CheckKind.TCP:
        return None
    return Request(
        method=check.method,
        path=check.path,
        host_field=check.host_field or host_field_of(host, domains, upstream, host.upstream_configuration),
        headers=headers_of(check.headers),
        statuses=parse_statuses(check.expected_status),
        body_contains=check.body_contains.encode(),
    )


def _job(
    upstream: Upstream, check: HealthCheck, request: Request | None, tls: _TLS, known: tuple[x509.Certificate, ...]
) -> Job:
    """An http upstream, and a TCP check, need no TLS, so its problems are not theirs."""
    is_tls = upstream.scheme == Scheme.HTTPS and request is not None
    context, problem = tls if is_tls else (None, None)
    return Job(
        address=upstream.address,
        port=upstream.port,
        timeout_s=check.timeout_s,
        request=request,
        context=context,
        problem=problem,
        known_certificates=known if is_tls else (),
    )
