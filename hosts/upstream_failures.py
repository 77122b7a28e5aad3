"""What the workers say about failing upstreams: kept, and asked for.

Laws of this module:
- Of each upstream and worker there is one row, the last failure; it goes with the upstream and with the worker.
- A report may speak of what was deleted meanwhile, and its clock may be wrong: that is passed over.
"""

import datetime
import uuid
from collections.abc import Iterable, Sequence
from typing import cast

from django.db import transaction
from django.db.models import CharField, QuerySet

from hosts.failure_observers import tell_of_traffic
from hosts.models import ProxyWorker, Upstream, UpstreamFailure
from proxyworker.snapshot import MAX_REPORTED_FAILURES
from proxyworker.snapshot import UpstreamFailure as Reported

# So long a list speaks of it. With passive health, a broken upstream is tried at least once a minute while it has
# requests.
RECENT = datetime.timedelta(minutes=5)

_KEPT = ("phase", "code", "reason", "request_id", "at", "count")
MAX_COUNT = 2**63 - 1


@transaction.atomic
def record_failures(
    *, worker: ProxyWorker, run: str = "", reported: Sequence[Reported], now: datetime.datetime
) -> None:
    """Keep the last failure of each upstream that still exists, and tell observers of all. Two queries of its own."""
    identified = [
        (upstream_id, failure)
        for failure in sorted(reported[:MAX_REPORTED_FAILURES], key=lambda failure: failure.at)
        if (upstream_id := _identifier(failure.upstream_id)) is not None
    ]
    last = dict(identified)
    if not last:
        return
    # Locked, so that none is deleted before its failure is written; in order, so that two reports cannot block each
    # other for good.
    locked = Upstream.objects.filter(pk__in=last).order_by("pk").select_for_update().values_list("pk", flat=True)
    upstreams = list(locked)
    UpstreamFailure.objects.bulk_create(
        [_row(last[upstream_id], upstream_id=upstream_id, worker=worker, now=now) for upstream_id in upstreams],
        update_conflicts=True,
        unique_fields=["upstream", "worker"],
        update_fields=_KEPT,
    )
    existing = set(upstreams)
    told = [failure for upstream_id, failure in identified if upstream_id in existing]
    tell_of_traffic(worker_id=worker.pk, run=run, failures=told, now=now)


def failures_of(host_id: uuid.UUID) -> QuerySet[UpstreamFailure]:
    """The last failures of a host's upstreams, the newest first, with upstream and worker. One query."""
    return UpstreamFailure.objects.filter(upstream__host_id=host_id).select_related("upstream", "worker")


def recently_failing(host_ids: Iterable[uuid.UUID], *, now: datetime.datetime) -> set[uuid.UUID]:
    """Those of these hosts of which an upstream failed lately. One query."""
    failures = UpstreamFailure.objects.filter(upstream__host_id__in=list(host_ids), at__gte=now - RECENT)
    return set(failures.order_by().values_list("upstream__host_id", flat=True).distinct())


def _row(failure: Reported, *, upstream_id: uuid.UUID, worker: ProxyWorker, now: datetime.datetime) -> UpstreamFailure:
    return UpstreamFailure(
        upstream_id=upstream_id,
        worker=worker,
        phase=_text(failure.phase, "phase"),
        code=_text(failure.code, "code"),
        reason=_text(failure.reason, "reason"),
        request_id=_text(failure.request_id, "request_id"),
        at=moment_of(failure.at, now=now),
        count=max(0, min(failure.count, MAX_COUNT)),
    )


def _identifier(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def printable(text: str, limit: int | None) -> str:
    """What a column takes. PostgreSQL stores no NUL, and no page shows control characters."""
    return "".join(character if character.isprintable() else "?" for character in text[:limit])


def _text(text: str, column: str) -> str:
    return printable(text, cast("CharField[str, str]", UpstreamFailure._meta.get_field(column)).max_length)


def moment_of(unix_time_s: float, *, now: datetime.datetime) -> datetime.datetime:
    """The time of a failure. A clock that is ahead, or broken, must not make it the newest for ever."""
    try:
        return min(datetime.datetime.fromtimestamp(unix_time_s, tz=datetime.UTC), now)
    except (ValueError, OverflowError, OSError):
        return now
