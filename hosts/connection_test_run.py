"""Test Connection, the side of the Celery worker: take the tests, try the handshakes, write down what came of them.

Laws of this module:
- A test is claimed by a compare-and-set, so a task that is delivered twice tests once; a claim that its worker did not
  live to redeem expires (`hosts.connection_tests`).
- Threads that wait for an upstream touch no database and hold up nobody: each test of a batch has its own.
"""

import concurrent.futures
import logging
from collections.abc import Iterable

from cryptography import x509
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.errors import AegisError
from hosts.failure_observers import tell_of_test
from hosts.models import ConnectionTest, ConnectionTestState
from hosts.sealed_jobs import Job, open_job
from upstream_tls.selectors import acceptable_identities, known_certificates
from upstream_tls.tls.probe import probe
from upstream_tls.tls.result import ProbeResult, ProbeTarget, as_document

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 5.0
# Celery's time limits do not work with threads. A probe ends by itself; this is for the one that does not.
RUN_LIMIT_S = PROBE_TIMEOUT_S + 1.5
# An answer names so many stored certificates that would do.
MAX_IDENTITIES_NAMED = 5


def run_tests(test_ids: Iterable[str]) -> None:
    """Try the handshakes of these tests side by side. Those that another run has taken are left alone."""
    claimed = [claim for test_id in test_ids if (claim := _claim(test_id)) is not None]
    if not claimed:
        return
    known = known_certificates()
    executor = concurrent.futures.ThreadPoolExecutor(max_workers=len(claimed), thread_name_prefix="probe")
    try:
        futures = {executor.submit(_probe, test, job, known): test for test, job in claimed}
        for future in concurrent.futures.as_completed(futures, timeout=RUN_LIMIT_S):
            _finish(futures[future], future)
    except TimeoutError:
        logger.error("a connection test did not end within %s s", RUN_LIMIT_S)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        # What has no result by now gets none.
        ConnectionTest.objects.filter(pk__in=[test.pk for test, _ in claimed]).expire(timezone.now())


def _claim(test_id: str) -> tuple[ConnectionTest, Job] | None:
    """The test and what to try, when this run is the one that got it."""
    queued = ConnectionTest.objects.filter(pk=test_id, state=ConnectionTestState.QUEUED)
    if not queued.update(state=ConnectionTestState.RUNNING, started_at=timezone.now()):
        logger.info("connection test %s is gone, over, or taken by another run", test_id)
        return None
    test = ConnectionTest.objects.get(pk=test_id)
    try:
        return test, open_job(test.job)
    except AegisError as error:
        logger.error("connection test %s: %s", test_id, error.message)
        ConnectionTest.objects.filter(pk=test_id).expire(timezone.now())
        return None


def _probe(test: ConnectionTest, job: Job, known: tuple[x509.Certificate, ...]) -> ProbeResult:
    target = ProbeTarget(address=test.address, port=test.port, host_field=job.host_field)
    return probe(job.spec, target, timeout_s=PROBE_TIMEOUT_S, known_certificates=known)


def _finish(test: ConnectionTest, future: "concurrent.futures.Future[ProbeResult]") -> None:
    try:
        result = future.result()
    except Exception:
        # A mistake of ours in one test must not cost the results of the others; its row is given up with the run.
        logger.exception("connection test %s failed", test.pk)
        return
    document = as_document(result)
    if document["error"] is not None:
        document["error"]["cause"] += _stored_identities(result)
    # Null: a row of the editor that is not saved.
    upstream_id = str(test.upstream_id) if test.upstream_id else None
    document["upstream"] = {"id": upstream_id, **document["upstream"]}
    code = result.error.code if result.error else ""
    now = timezone.now()
    with transaction.atomic():
        # An answer that comes after its test has expired is too late: whoever asked was told something else.
        is_kept = ConnectionTest.objects.filter(pk=test.pk, state=ConnectionTestState.RUNNING).update(
            state=ConnectionTestState.DONE,
            job=None,
            success=result.success,
            code=code,
            result=document,
            finished_at=now,
        )
        if is_kept:
            tell_of_test(ConnectionTest.objects.get(pk=test.pk), now=now)
    logger.info("connection test of %s: %s", test.target, code or "ok")


def _stored_identities(result: ProbeResult) -> str:
    """When our certificate was refused by an upstream that lists the CAs it accepts: which stored ones would do."""
    error, tls = result.error, result.tls
    if error is None or tls is None or not tls.acceptable_ca_names or not error.code.startswith("client_certificate_"):
        return ""
    identities = acceptable_identities(tls.acceptable_ca_names, now=timezone.now())
    if not identities:
        return " No client certificate that is stored here is from one of those."
    left_out = len(identities) - MAX_IDENTITIES_NAMED
    more = f" and {left_out} more" if left_out > 0 else ""
    return f" Of the certificates stored here it would accept: {'; '.join(identities[:MAX_IDENTITIES_NAMED])}{more}."
