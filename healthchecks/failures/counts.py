"""What the workers counted of failing upstreams, until the inbox takes it (`healthchecks.failures.taking`).

Laws of this module: it runs in the worker's process, off the reactor, so it imports nothing that is not there, and
writes nothing for a request; a count of a run only grows.
"""

import datetime
import uuid
from collections.abc import Sequence

from django.db.models import Exists, OuterRef

from healthchecks.failures.models import MESSAGE_CHARACTERS, FailureCount
from hosts.models import ProxyWorker, Upstream
from hosts.upstream_failures import MAX_COUNT, moment_of, printable
from proxyworker.snapshot import UpstreamFailure as Reported

# Deleted at once; what is left waits for the next sweep.
BATCH = 1000
# An earlier run of a worker that still drains may report for so long.
KEPT_OLD_RUN = datetime.timedelta(hours=1)
# A worker that was cut off from the database comes back with the counts that it had.
KEPT_OF_LOST_WORKER = datetime.timedelta(days=7)

_REPORTED = ("count", "at", "message", "request_id", "reported_at")


def keep_counts(*, worker_id: str, run: str, failures: Sequence[Reported], now: datetime.datetime) -> None:
    """Writes down what a worker counted of these upstreams, which exist. One statement."""
    # By upstream and code, as the constraint has it; of two that share their first fifty characters the last one stays.
    rows = {
        (failure.upstream_id, code): FailureCount(
            worker_id=worker_id,
            run=run[:32],
            upstream_id=uuid.UUID(failure.upstream_id),
            code=code,
            count=max(0, min(failure.code_count, MAX_COUNT)),
            at=moment_of(failure.at, now=now),
            message=printable(failure.reason, MESSAGE_CHARACTERS),
            request_id=printable(failure.request_id, 64),
            reported_at=now,
        )
        for failure in failures
        for code in (printable(failure.code, 50),)
    }
    FailureCount.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["worker_id", "run", "upstream_id", "code"],
        update_fields=_REPORTED,
    )


def forget_counts(*, now: datetime.datetime) -> int:
    """Deletes counts of runs that are over, and of workers and upstreams that are gone. How many there were.

    Those of a worker's present run stay however old they are: its next report goes on from them.
    """
    later = FailureCount.objects.filter(
        worker_id=OuterRef("worker_id"), reported_at__gt=OuterRef("reported_at")
    ).exclude(run=OuterRef("run"))
    old_runs = FailureCount.objects.filter(Exists(later), reported_at__lt=now - KEPT_OLD_RUN)
    workers = ProxyWorker.objects.filter(pk=OuterRef("worker_id"))
    upstreams = Upstream.objects.filter(pk=OuterRef("upstream_id"))
    lost = FailureCount.objects.filter(~Exists(workers), reported_at__lt=now - KEPT_OF_LOST_WORKER)
    without_upstream = FailureCount.objects.filter(~Exists(upstreams))
    deleted = 0
    for rows in (old_runs, lost, without_upstream):
        deleted += FailureCount.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[:BATCH])).delete()[0]
    return deleted
