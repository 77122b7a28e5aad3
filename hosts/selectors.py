"""Questions about hosts and what is published of them."""

import datetime
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Exists, Max, OuterRef

from hosts.models import CompiledHost, Domain, Host, ProxyWorker
from proxyworker.snapshot import SCHEMA_VERSION

# Workers report every few seconds.
LOST_AFTER = datetime.timedelta(seconds=30)


class WorkerHealth(StrEnum):
    """How a worker stands to what is published."""

    CURRENT = "current"
    BEHIND = "behind"
    LOST = "lost"


class Verdict(StrEnum):
    """What one worker makes of one host."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    WAITING = "waiting"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerVerdict:
    """One worker and what it makes of a host; `reason` says why it refuses it."""

    worker: ProxyWorker
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedState:
    """What is published of a host, None before the first time, and what the workers make of it."""

    compiled: CompiledHost | None
    verdicts: tuple[WorkerVerdict, ...]


def latest_generation() -> int:
    """The newest generation that is published; 0 when there is none. One query."""
    return CompiledHost.objects.aggregate(latest=Max("generation"))["latest"] or 0


def hosts_to_compile() -> list[uuid.UUID]:
    """Hosts whose published state is not that of their row, was compiled by another schema, or has a problem.

    Two queries. Deleted hosts that are still published count as well.
    """
    compiled = CompiledHost.objects.filter(
        pk=OuterRef("pk"),
        source_updated_at=OuterRef("updated_at"),
        schema_version=SCHEMA_VERSION,
        problem="",
        downstream_problem="",
    )
    existing = Host.objects.filter(pk=OuterRef("pk"))
    stale = Host.objects.filter(~Exists(compiled)).order_by("pk").values_list("pk", flat=True)
    gone = CompiledHost.objects.exclude(entry_json="").filter(~Exists(existing)).values_list("pk", flat=True)
    return [*stale, *gone]


def domains_of_other_hosts(names: Sequence[str], *, host_id: uuid.UUID) -> Iterable[Domain]:
    """Which of these domains belong to hosts other than this one, with their host. One query."""
    return Domain.objects.filter(name__in=names).exclude(host_id=host_id).select_related("host")


def tags_in_use() -> list[str]:
    """The tags of all hosts, sorted. One query."""
    return sorted({tag for tags in Host.objects.exclude(tags=[]).values_list("tags", flat=True) for tag in tags})


def published_state(host_id: uuid.UUID, *, now: datetime.datetime) -> PublishedState:
    """What is published of a host and what each worker makes of it. Two queries."""
    compiled = CompiledHost.objects.filter(pk=host_id).first()
    workers = ProxyWorker.objects.all() if compiled else ()
    return PublishedState(
        compiled=compiled, verdicts=tuple(_verdict(worker, compiled, now) for worker in workers if compiled)
    )


def refusals(*, now: datetime.datetime) -> dict[str, str]:
    """Host id and reason of every host that a living worker refuses. One query."""
    living = ProxyWorker.objects.filter(last_seen_at__gte=now - LOST_AFTER)
    return {host_id: reason for worker in living for host_id, reason in worker.rejected.items()}


def worker_health(worker: ProxyWorker, *, latest: int, now: datetime.datetime) -> WorkerHealth:
    """How a worker stands, when `latest` is the newest generation. No query."""
    if worker.last_seen_at < now - LOST_AFTER:
        return WorkerHealth.LOST
    return WorkerHealth.CURRENT if worker.generation >= latest else WorkerHealth.BEHIND


def _verdict(worker: ProxyWorker, compiled: CompiledHost, now: datetime.datetime) -> WorkerVerdict:
    reason = worker.rejected.get(str(compiled.pk), "")
    match worker_health(worker, latest=compiled.generation, now=now):
        case WorkerHealth.LOST:
            return WorkerVerdict(worker=worker, verdict=Verdict.LOST, reason="")
        case WorkerHealth.BEHIND:
            return WorkerVerdict(worker=worker, verdict=Verdict.WAITING, reason="")
    verdict = Verdict.REFUSED if reason else Verdict.ACCEPTED
    return WorkerVerdict(worker=worker, verdict=verdict, reason=reason)
