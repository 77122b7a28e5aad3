"""Test Connection, the side of whoever asks: request tests, wait for them, look at the last ones.

Laws of this module:
- Together with `hosts.connection_test_run`, the one writer of ConnectionTest. Every transition is a compare-and-set.
- What is tested travels sealed in the row, and is removed when the test ends; the queue gets row ids only.
- Whoever waits gets an answer within ANSWER_WITHIN: a test that no worker took, or that did not end, expires.
"""

import datetime
import functools
import json
import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.db.models import F, OuterRef, Subquery, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from kombu.exceptions import OperationalError

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.keyring import SecretUnreadable
from hosts.connection_test_run import PROBE_TIMEOUT_S
from hosts.field_errors import FieldErrors
from hosts.models import ConnectionTest, ConnectionTestState, Host, Scheme, Upstream, target_of
from hosts.sealed_jobs import Job, seal_job
from proxyworker.snapshot import own_authority
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes, spec_of

logger = logging.getLogger(__name__)

# An idle worker takes a test within milliseconds.
TAKEN_WITHIN = datetime.timedelta(seconds=2.5)
# A test taken at the last moment still has its time. The API promises eight seconds.
ANSWER_WITHIN = TAKEN_WITHIN + datetime.timedelta(seconds=PROBE_TIMEOUT_S)
POLL_EVERY_S = 0.1

# One run of all upstreams of the largest host fits in.
KEPT_TESTS = 100
# Tests of a host that was never saved belong to nothing.
KEPT_WITHOUT_HOST = datetime.timedelta(hours=1)

# A name below a wildcard, for a host that answers for nothing else.
WILDCARD_LABEL = "aegis-connection-test"

TESTS_PER_READ = 500

_OVER = (ConnectionTestState.DONE, ConnectionTestState.EXPIRED)


class ShownCertificate(NamedTuple):
    """A certificate that an upstream showed. `not_after` is None where it cannot be read."""

    subject: str
    fingerprint_sha256: str
    not_after: datetime.datetime | None


class ShownChain(NamedTuple):
    """What an upstream showed at a test, leaf first, at least that one."""

    host_id: uuid.UUID
    host_name: str
    target: str
    seen_at: datetime.datetime
    chain: tuple[ShownCertificate, ...]


class NothingToTest(AegisError):
    """There is no upstream that speaks TLS."""


class NotRun(AegisError):
    """No worker took the test, or it did not end in time."""


def first_upstream(upstreams: Iterable[Upstream]) -> list[Upstream]:
    """The upstream that is tried first. Raises NothingToTest."""
    for upstream in upstreams:
        if upstream.enabled:
            return one_upstream(upstream)
    raise NothingToTest("no_upstream", "There is no enabled upstream to test.")


def one_upstream(upstream: Upstream) -> list[Upstream]:
    """This upstream, enabled or not. Raises NothingToTest."""
    if upstream.scheme != Scheme.HTTPS:
        message = f"The upstream {upstream} is reached over plain HTTP: there is no TLS to test."
        raise NothingToTest("upstream_without_tls", message)
    return [upstream]


def all_upstreams(upstreams: Iterable[Upstream]) -> list[Upstream]:
    """Every enabled https upstream. Raises NothingToTest."""
    enabled = [upstream for upstream in upstreams if upstream.enabled]
    # Without any that speaks TLS, the first one has the reason.
    return [upstream for upstream in enabled if upstream.scheme == Scheme.HTTPS] or first_upstream(enabled)


def candidate_configuration(host: Host, changes: UpstreamTLSChanges) -> UpstreamTLSConfiguration:
    """The host's configuration with `changes`, not saved. Raises ValidationError keyed `upstream_tls.<field>`."""
    stored = UpstreamTLSConfiguration.objects.filter(host_id=host.pk).first()
    configuration = stored or UpstreamTLSConfiguration(host_id=host.pk)
    errors = FieldErrors()
    with errors.under("upstream_tls"):
        apply_changes(configuration, changes)
    errors.raise_if_any()
    return configuration


def unattached(host: Host) -> Host:
    """A host that is stored nowhere and asks as `host` would: its tests are never shown as those of `host`."""
    return Host(name=host.name, preserve_host=host.preserve_host)


@transaction.atomic
def request_tests(
    *,
    host: Host,
    domains: Sequence[str],
    upstreams: Iterable[Upstream],
    configuration: UpstreamTLSConfiguration,
    user: Actor | None,
) -> uuid.UUID:
    """Have these upstreams tested with this configuration, saved or not. Returns the batch.

    The work is queued on commit; when the queue is away, the tests expire at once. Raises SecretUnreadable when the
    client key does not open.
    """
    batch, now, spec = uuid.uuid4(), timezone.now(), spec_of(configuration)
    stored = Host.objects.with_configuration().filter(pk=host.pk).first()
    stored_jobs = _stored_jobs(stored) if stored is not None else {}
    tests = []
    for upstream in upstreams:
        job = Job(spec=spec, host_field=host_field_of(host, domains, upstream, configuration))
        test = ConnectionTest(
            batch=batch,
            host=stored,
            upstream_id=upstream.pk if upstream.pk in stored_jobs else None,
            address=upstream.address,
            port=upstream.port,
            is_of_saved_host=stored_jobs.get(upstream.pk) == (upstream.address, upstream.port, job),
            requested_by_id=user.pk if user is not None else None,
            job=seal_job(job),
            created_at=now,
        )
        test.save(force_insert=True)
        tests.append(test)
    if stored is not None:
        _forget_all_but_newest(stored)
    transaction.on_commit(partial(_enqueue, [str(test.pk) for test in tests]))
    return batch


def request_tests_as_stored(*, host: Host, upstreams: Iterable[Upstream], user: Actor | None) -> uuid.UUID:
    """As `request_tests`, with all that is saved of the host. Three queries more."""
    stored = Host.objects.with_configuration().get(pk=host.pk)
    configuration = stored.upstream_configuration
    domains = [domain.name for domain in stored.domains.all()]
    return request_tests(host=stored, domains=domains, upstreams=upstreams, configuration=configuration, user=user)


def current_tests(*batches: uuid.UUID) -> list[ConnectionTest]:
    """The tests of these batches as they stand now. Those that took too long expire here. Two queries.

    The newest batch comes first, and in it the failures.
    """
    now, tests = timezone.now(), ConnectionTest.objects.filter(batch__in=batches)
    overdue = tests.overdue(now, taken_within=TAKEN_WITHIN, ended_within=ANSWER_WITHIN)
    # Looked for before it is written, because every write on SQLite waits for its turn.
    if overdue.exists():
        overdue.expire(now)
    return list(tests)


def wait_for(batch: uuid.UUID) -> list[ConnectionTest]:
    """The tests of a batch when all are over, which is within ANSWER_WITHIN. Two queries every tenth of a second."""
    tests = current_tests(batch)
    while not all(test.is_over for test in tests):
        time.sleep(POLL_EVERY_S)
        tests = current_tests(batch)
    return tests


def results_of(tests: Sequence[ConnectionTest]) -> list[dict[str, object]]:
    """The API's documents of tests that are over. Raises NotRun when one has none."""
    results = []
    for test in tests:
        if test.result is None:
            code = "no_worker" if test.started_at is None else "test_not_finished"
            raise NotRun(code, why_expired(test))
        results.append(test.result)
    return results


def why_expired(test: ConnectionTest) -> str:
    """Why a test that is over has no result, for an operator."""
    if test.started_at is None:
        return "No Celery worker took the test. Is the worker running, and Redis reachable?"
    return "The Celery worker took the test and did not finish it. The reason is in its log."


def latest_tests(host: Host) -> list[ConnectionTest]:
    """All tests of the latest batch of a host, failures first; empty when it was never tested. Two queries."""
    batch = host.connection_tests.order_by("-created_at").values_list("batch", flat=True).first()
    return current_tests(batch) if batch is not None else []


def last_outcomes(host_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, ConnectionTest]:
    """Of each host the last test of what is saved, the worst one of its batch; without its result. One query."""
    last = Host.objects.filter(pk__in=list(host_ids)).values_list(_last_of_saved("pk"))
    tests = ConnectionTest.objects.filter(pk__in=last).defer("result", "job")
    return {test.host_id: test for test in tests if test.host_id is not None}


def last_success() -> Subquery:
    """For the hosts of a query: whether that test went well; null, it was never tested."""
    return _last_of_saved("success")


def last_tested_at() -> Subquery:
    """For the hosts of a query: when that test ended."""
    return _last_of_saved("finished_at")


def last_tests_of_upstreams(host_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, ConnectionTest]:
    """Of each upstream of these hosts the last test of what is saved, with its result. One query."""
    last = Upstream.objects.filter(host__in=list(host_ids)).values_list(_last_test_of_saved())
    tests = ConnectionTest.objects.filter(pk__in=last).defer("job")
    return {test.upstream_id: test for test in tests if test.upstream_id is not None}


def last_tests_that_saw(fingerprint: str, host_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, ConnectionTest]:
    """Of these hosts' upstreams those that showed this certificate at their last test, with the test. One query."""
    return {
        upstream_id: test
        for upstream_id, test in last_tests_of_upstreams(host_ids).items()
        if any(shown["fingerprint_sha256"] == fingerprint for shown in (test.result or {})["chain"])
    }


def leaves_of_upstreams() -> set[str]:
    """The fingerprints of the certificates that upstreams showed at their last test of what is saved. One query."""
    tests = ConnectionTest.objects.filter(pk__in=Upstream.objects.values_list(_last_test_of_saved()))
    return {found for found in tests.values_list("result__chain__0__fingerprint_sha256", flat=True) if found}


def ends_of_upstream_certificates() -> Iterator[tuple[uuid.UUID, datetime.datetime]]:
    """Host, and the end of a certificate that its upstream showed at the last test of what is saved. One query."""
    tests = ConnectionTest.objects.filter(pk__in=Upstream.objects.values_list(_last_test_of_saved()))
    for host_id, not_after in tests.values_list("host_id", "result__chain__0__not_after"):
        if host_id is not None and not_after is not None:
            yield host_id, datetime.datetime.fromisoformat(not_after)


def chains_of_upstreams() -> Iterator[ShownChain]:
    """What the upstreams of hosts that are on showed at the last test of what is saved. One query.

    Upstreams that are off, that speak no TLS, or that have moved since are left out: nobody is shown that any more.
    """
    upstreams = Upstream.objects.filter(enabled=True, scheme=Scheme.HTTPS, host__enabled=True)
    tests = ConnectionTest.objects.filter(
        pk__in=upstreams.values_list(_last_test_of_saved()), address=F("upstream__address"), port=F("upstream__port")
    )
    # Taken apart here: the database would read each document as often, and could not remember it.
    rows = tests.order_by().annotate(text=Cast("result", TextField()))
    columns = rows.values_list("host_id", "host__name", "address", "port", "finished_at", "text")
    for host_id, host_name, address, port, seen_at, text in columns.iterator(TESTS_PER_READ):
        chain = _shown(text)
        if host_id is not None and seen_at is not None and chain:
            yield ShownChain(host_id, host_name, target_of(address, port), seen_at, chain)


# The last test is the last for long. A result has some 2 KB.
@functools.lru_cache(maxsize=4096)
def _shown(result_json: str) -> tuple[ShownCertificate, ...]:
    return tuple(
        ShownCertificate(
            shown["subject"],
            shown["fingerprint_sha256"],
            datetime.datetime.fromisoformat(shown["not_after"]) if shown["not_after"] is not None else None,
        )
        for shown in json.loads(result_json)["chain"]
    )


def expire_lost_tests(*, now: datetime.datetime) -> int:
    """End the tests whose worker died, and delete those of hosts that were never saved. How many were ended."""
    ConnectionTest.objects.filter(host=None, created_at__lt=now - KEPT_WITHOUT_HOST).delete()
    overdue = ConnectionTest.objects.overdue(now, taken_within=TAKEN_WITHIN, ended_within=ANSWER_WITHIN)
    return overdue.expire(now)


def host_field_of(
    host: Host, domains: Sequence[str], upstream: Upstream, configuration: UpstreamTLSConfiguration
) -> str:
    """What the data plane would send: a name of the host when that is preserved, else the upstream's own name."""
    if host.preserve_host and domains:
        plain = next((name for name in domains if not name.startswith("*.")), None)
        return plain or f"{WILDCARD_LABEL}{domains[0].removeprefix('*')}"
    return own_authority(
        scheme=upstream.scheme,
        address=upstream.address,
        port=upstream.port,
        server_name=configuration.server_name,
    )


def _last_of_saved(column: str) -> Subquery:
    done = ConnectionTest.objects.filter(
        host=OuterRef("pk"), state=ConnectionTestState.DONE, is_of_saved_host=True
    ).order_by("-created_at", "success")
    return Subquery(done.values(column)[:1])


def _last_test_of_saved() -> Subquery:
    """For a query over upstreams."""
    done = ConnectionTest.objects.filter(
        upstream=OuterRef("pk"), state=ConnectionTestState.DONE, is_of_saved_host=True
    ).order_by("-created_at")
    return Subquery(done.values("pk")[:1])


def _stored_jobs(stored: Host) -> dict[uuid.UUID, tuple[str, int, Job]]:
    """Of each saved upstream what a test of the saved host would try."""
    configuration = stored.upstream_configuration
    domains = [domain.name for domain in stored.domains.all()]
    try:
        spec = spec_of(configuration)
    except SecretUnreadable:  # no test can be one of this host as it stands; with a new key there is one all the same
        return {}
    return {
        upstream.pk: (
            upstream.address,
            upstream.port,
            Job(spec=spec, host_field=host_field_of(stored, domains, upstream, configuration)),
        )
        for upstream in stored.upstreams.all()
    }


def _enqueue(test_ids: list[str]) -> None:
    # Tasks call services, so a service imports its task where it needs it.
    from hosts.tasks import run_connection_tests  # noqa: PLC0415

    try:
        run_connection_tests.delay(test_ids)
    except OperationalError as error:
        # The error's text may hold the URL, and that a password.
        logger.error("connection tests were not queued: %s", type(error).__name__)
        ConnectionTest.objects.filter(pk__in=test_ids).expire(timezone.now())


def _forget_all_but_newest(host: Host) -> None:
    kept = host.connection_tests.order_by("-created_at").values_list("pk", flat=True)[:KEPT_TESTS]
    host.connection_tests.filter(state__in=_OVER).exclude(pk__in=list(kept)).delete()
