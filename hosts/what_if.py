"""Which hosts would break if something were changed: the change is tried on the real upstreams and made nowhere.

Laws of this module:
- An upstream breaks when it works now and not with the change; both are tested at the same time, in the same way.
  Whatever was not seen is `not_tested`, with the reason: silence is never good news.
- Each attempt is a connection test like any other (`hosts.connection_tests`), of a host that is stored nowhere: no
  host's own tests are displaced, and the rows are gone within the hour.
- A revocation is tried nowhere: an upstream learns of it only when it has happened. What Aegis itself would do with the
  certificate of an upstream follows from the host's revocation lists and from what the last test really saw.
- The answer comes within ANSWER_WITHIN_S, whatever the upstreams do, and leaves half of the Celery worker to others.
"""

import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.errors import AegisError
from hosts.connection_tests import (
    ANSWER_WITHIN,
    POLL_EVERY_S,
    NotRun,
    current_tests,
    last_tests_that_saw,
    request_tests,
    unattached,
    why_expired,
)
from hosts.enforcement import REFUSING_STATUSES
from hosts.models import ConnectionTest, Host, Scheme, Upstream
from hosts.what_if_changes import (
    Change,
    Kind,
    candidate,
    checks_revocation,
    concerned_hosts,
    issuer_of,
    note_on,
)
from upstream_tls.models import UpstreamTLSConfiguration

ANSWER_WITHIN_S = 30.0
# Two tests each. The Celery worker runs 32 tasks at once; a test that it does not take in time expires.
UPSTREAMS_AT_ONCE = 8
MAX_UPSTREAMS = 100
# What is started later than this could outlast the answer.
_START_WITHIN_S = ANSWER_WITHIN_S - ANSWER_WITHIN.total_seconds()

# What the API answers for one connection test (docs/upstream-mtls.md).
Document: TypeAlias = dict[str, Any]

# Before TLS begins no setting of TLS can be at fault.
_STAGES_BEFORE_TLS = frozenset(("dns", "tcp"))


class Verdict(StrEnum):
    """What a change would do, worst first."""

    BREAKS = "breaks"
    NOT_TESTED = "not_tested"
    ALREADY_FAILING = "already_failing"
    WORKS = "works"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOutcome:
    """One upstream as it answers now and as it would: documents of connection tests, None for what was not run.

    `code` and `message` say why it was not tested, or what else speaks for the verdict.
    """

    upstream: Upstream
    verdict: Verdict
    now: Document | None = None
    then: Document | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutcome:
    """One host: the worst of its upstreams. `note` is what no test can tell."""

    host: Host
    verdict: Verdict
    note: str
    upstreams: tuple[UpstreamOutcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The answer. `is_complete`: everything that could be tested was."""

    change: Change
    hosts: tuple[HostOutcome, ...]
    is_complete: bool
    duration_ms: int

    def count(self, verdict: Verdict) -> int:
        """How many hosts have this verdict."""
        return sum(outcome.verdict is verdict for outcome in self.hosts)


@dataclass(slots=True, kw_only=True, eq=False)
class _Attempt:
    """One upstream to be tested as it is and as it would be."""

    host: Host
    upstream: Upstream
    batches: tuple[uuid.UUID, uuid.UUID] | None = field(default=None)


def what_if(*, change: Change, user: Actor | None) -> WhatIf:
    """Try `change` on the upstreams of every host it concerns. Changes nothing.

    Raises ValidationError for a certificate that nobody uses, NotRun when no test could be run at all.
    """
    begun = time.monotonic()
    hosts = concerned_hosts(change)
    attempts = [
        _Attempt(host=host, upstream=upstream)
        for host in hosts
        for upstream in host.upstreams.all()
        if change.is_testable and upstream.enabled and upstream.scheme == Scheme.HTTPS
    ]
    tested = _Run(change=change, user=user, start_until=begun + _START_WITHIN_S).outcomes(attempts[:MAX_UPSTREAMS])
    outcomes: dict[uuid.UUID, list[UpstreamOutcome]] = {}
    if change.kind is Kind.REVOKE_CERTIFICATE:
        outcomes = _on_revocation(hosts, change.certificate)
    for attempt in attempts:
        outcome = tested.get(attempt.upstream.pk) or _not_tested(attempt, "too_many", _TOO_MANY)
        outcomes.setdefault(attempt.host.pk, []).append(outcome)
    results = [_of_host(host, change, outcomes.get(host.pk, ())) for host in hosts]
    return WhatIf(
        change=change,
        hosts=tuple(sorted(results, key=lambda found: (list(Verdict).index(found.verdict), found.host.name))),
        is_complete=change.is_testable and not any(found.verdict is Verdict.NOT_TESTED for found in results),
        duration_ms=round((time.monotonic() - begun) * 1000),
    )


def judge(now: Document, then: Document) -> tuple[Verdict, str, str]:
    """What follows from the tests of one upstream, as it is and as it would be: verdict, code and message. Pure."""
    if not now["success"] or _status(now) in REFUSING_STATUSES:
        return Verdict.ALREADY_FAILING, "", ""
    if not then["success"]:
        error = then["error"]
        if error["evidence"].get("stage") in _STAGES_BEFORE_TLS:
            message = "The upstream went away between the two tests, which no setting of TLS can cause. Try again."
            return Verdict.NOT_TESTED, "upstream_went_away", message
        return Verdict.BREAKS, error["code"], error["message"]
    if _status(then) in REFUSING_STATUSES:
        message = f"TLS would work, but the upstream answers HTTP {_status(then)} instead of {_status(now)}."
        return Verdict.BREAKS, "refused_by_status", message
    return Verdict.WORKS, "", ""


class _Run:
    """The tests of one answer: a few upstreams at once, until all are tested or the time is over."""

    def __init__(self, *, change: Change, user: Actor | None, start_until: float) -> None:
        self._change = change
        self._user = user
        self._start_until = start_until
        self._outcomes: dict[uuid.UUID, UpstreamOutcome] = {}
        self._candidates: dict[uuid.UUID, UpstreamTLSConfiguration] = {}

    def outcomes(self, attempts: Iterable[_Attempt]) -> dict[uuid.UUID, UpstreamOutcome]:
        """By upstream. Raises NotRun when there is no worker to run anything."""
        waiting, running = deque(attempts), list[_Attempt]()
        while waiting or running:
            while waiting and len(running) < UPSTREAMS_AT_ONCE:
                if self._start(attempt := waiting.popleft()):
                    running.append(attempt)
            running = list(self._unfinished(running))
            if running:
                time.sleep(POLL_EVERY_S)
        return self._outcomes

    def _start(self, attempt: _Attempt) -> bool:
        """Whether there is now something to wait for."""
        if time.monotonic() > self._start_until:
            self._settle(_not_tested(attempt, "out_of_time", _OUT_OF_TIME))
            return False
        try:
            then = self._candidate(attempt.host)
            attempt.batches = (
                self._request(attempt, attempt.host.upstream_configuration),
                self._request(attempt, then),
            )
        except ValidationError as error:
            self._settle(_not_tested(attempt, "refused_by_aegis", " ".join(error.messages)))
        except AegisError as error:
            self._settle(_not_tested(attempt, error.code, error.message))
        return attempt.batches is not None

    def _candidate(self, host: Host) -> UpstreamTLSConfiguration:
        if host.pk not in self._candidates:
            self._candidates[host.pk] = candidate(host, self._change)
        return self._candidates[host.pk]

    def _request(self, attempt: _Attempt, configuration: UpstreamTLSConfiguration) -> uuid.UUID:
        return request_tests(
            host=unattached(attempt.host),
            domains=[domain.name for domain in attempt.host.domains.all()],
            upstreams=[attempt.upstream],
            configuration=configuration,
            user=self._user,
        )

    def _unfinished(self, running: Sequence[_Attempt]) -> Iterator[_Attempt]:
        tests = {test.batch: test for test in current_tests(*(batch for a in running for batch in a.batches or ()))}
        for attempt in running:
            now, then = (tests[batch] for batch in attempt.batches or ())
            if now.is_over and then.is_over:
                self._settle(_outcome(attempt, now, then))
            else:
                yield attempt

    def _settle(self, outcome: UpstreamOutcome) -> None:
        self._outcomes[outcome.upstream.pk] = outcome
        if outcome.code == _NO_WORKER and all(found.now is None for found in self._outcomes.values()):
            # Nobody has taken anything so far: a thousand hosts would only wait for the same answer.
            raise NotRun(_NO_WORKER, outcome.message)


_NO_WORKER = "no_worker"
_TOO_MANY = f"One answer tests at most {MAX_UPSTREAMS} upstreams. Name the hosts to test."
_OUT_OF_TIME = f"The time of one answer, {ANSWER_WITHIN_S:.0f} s, was over. Name the hosts to test."
_NOT_TRIED = "A revocation cannot be tried on an upstream without doing it."
_NO_UPSTREAM = "It has no enabled https upstream: nothing of it would change."


def _outcome(attempt: _Attempt, now: ConnectionTest, then: ConnectionTest) -> UpstreamOutcome:
    for test in (now, then):
        if test.result is None:
            return _not_tested(
                attempt, _NO_WORKER if test.started_at is None else "test_not_finished", why_expired(test)
            )
    documents: tuple[Document, Document] = (now.result or {}, then.result or {})
    verdict, code, message = judge(*documents)
    return UpstreamOutcome(
        upstream=attempt.upstream,
        verdict=verdict,
        now=documents[0],
        then=documents[1],
        code=code,
        message=message,
    )


def _not_tested(attempt: _Attempt, code: str, message: str) -> UpstreamOutcome:
    return UpstreamOutcome(upstream=attempt.upstream, verdict=Verdict.NOT_TESTED, code=code, message=message)


def _on_revocation(hosts: Sequence[Host], fingerprint: str) -> dict[uuid.UUID, list[UpstreamOutcome]]:
    """By host, the upstreams that showed this certificate when they were last tested. Two queries."""
    tests = last_tests_that_saw(fingerprint, [host.pk for host in hosts])
    outcomes: dict[uuid.UUID, list[UpstreamOutcome]] = {}
    if not tests:
        return outcomes
    issuer = issuer_of(fingerprint)
    for host in hosts:
        upstreams = [upstream for upstream in host.upstreams.all() if upstream.enabled and upstream.pk in tests]
        if upstreams:
            is_checked = checks_revocation(host, issuer)
            outcomes[host.pk] = [_revoked(one, tests[one.pk], is_checked=is_checked) for one in upstreams]
    return outcomes


def _revoked(upstream: Upstream, test: ConnectionTest, *, is_checked: bool) -> UpstreamOutcome:
    now: Document = test.result or {}
    seen = f"It showed this certificate when it was tested at {test.created_at:%Y-%m-%d %H:%M} UTC"
    if not now["success"]:
        verdict, code, message = Verdict.ALREADY_FAILING, "", f"{seen}."
    elif is_checked:
        verdict, code = Verdict.BREAKS, "revoked"
        message = f"{seen}, and would be refused as soon as the CA's new revocation list is stored here."
    else:
        verdict, code = Verdict.WORKS, ""
        message = f"{seen}, but this host looks at no revocation list of its CA: it would go on trusting it."
    return UpstreamOutcome(upstream=upstream, verdict=verdict, now=now, code=code, message=message)


def _of_host(host: Host, change: Change, upstreams: Sequence[UpstreamOutcome]) -> HostOutcome:
    note = note_on(host, change)
    verdicts = {outcome.verdict for outcome in upstreams}
    if not change.is_testable and note:
        # What others would do with the certificate.
        verdicts.add(Verdict.NOT_TESTED)
        note = f"{note} {_NOT_TRIED}"
    elif not verdicts:
        verdicts, note = {Verdict.WORKS}, _NO_UPSTREAM
    verdict = next(found for found in Verdict if found in verdicts)
    return HostOutcome(host=host, verdict=verdict, note=note, upstreams=tuple(upstreams))


def _status(document: Document) -> int | None:
    return document["http"]["status"] if document["http"] else None
