"""What is told of proxy workers and of certificates.

Laws of this module: each function is a sweep over what is stored, and may run at any time, also twice: what was told
already is not told again (`aegis_site.kernel.notifications.events`).
"""

import datetime
from collections.abc import Iterator

from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, host_group, settle, tell_all
from hosts.expiry.expiring import ABOUT, Expiring
from hosts.expiry.timeline import expiring
from hosts.models import Host, ProxyWorker
from hosts.selectors import LOST_AFTER, refusals

EVENTS_PER_WRITE = 200

# Written out: the process that runs these sweeps has no admin (`aegis_site.settings_worker`).
WORKERS_PAGE = "/admin/hosts/proxyworker/"


def tell_about_workers(*, now: datetime.datetime) -> None:
    """Which workers are lost, and which are back. A worker that was forgotten is neither."""
    workers = list(ProxyWorker.objects.only("worker_id", "last_seen_at"))
    settle(EventKind.WORKER_LOST, lasting={_worker_subject(worker) for worker in workers})
    tell_all([_worker_event(worker, now) for worker in workers])


def tell_about_refusals(*, now: datetime.datetime) -> None:
    """Hosts whose configuration a living worker refuses."""
    reasons = refusals(now=now)
    hosts = {str(host.pk): host for host in Host.objects.filter(pk__in=list(reasons)).only("name")} if reasons else {}
    settle(EventKind.CONFIGURATION_REJECTED, lasting={f"host:{host_id}" for host_id in hosts})
    tell_all(
        [
            Event(
                kind=EventKind.CONFIGURATION_REJECTED,
                subject=f"host:{host_id}",
                group=host_group(host_id),
                title=f"The configuration of {host.name} is refused",
                text="A worker cannot use it, and answers 502 for this host.",
                details={"Reason": reasons[host_id]},
                path=admin_page(host),
                at=now,
            )
            for host_id, host in hosts.items()
        ]
    )


def tell_about_expiry(*, now: datetime.datetime) -> None:
    """Whatever on the timeline ends within thirty days, or has ended; of revocation lists, within fewer."""
    events = list(_expiry_events(now))
    # On SQLite, others wait while these are written.
    for start in range(0, len(events), EVENTS_PER_WRITE):
        tell_all(events[start : start + EVENTS_PER_WRITE])


def _worker_event(worker: ProxyWorker, now: datetime.datetime) -> Event:
    is_lost = worker.last_seen_at < now - LOST_AFTER
    return Event(
        kind=EventKind.WORKER_LOST if is_lost else EventKind.WORKER_BACK,
        subject=_worker_subject(worker),
        group=_worker_subject(worker),
        title=f"Proxy worker {worker.worker_id} {'is lost' if is_lost else 'is back'}",
        text="It does not report any more." if is_lost else "",
        details={"Last seen": f"{worker.last_seen_at:%Y-%m-%d %H:%M:%S} UTC"} if is_lost else {},
        path=WORKERS_PAGE,
        at=now,
    )


def _worker_subject(worker: ProxyWorker) -> str:
    return f"worker:{worker.worker_id}"


def _expiry_events(now: datetime.datetime) -> Iterator[Event]:
    for found in expiring(now=now):
        left, about = found.not_after - now, ABOUT[found.role]
        days = next((days for days in about.days if left <= datetime.timedelta(days=days)), None)
        if days is not None:
            yield _expiry_event(found, days, now)


def _expiry_event(found: Expiring, days: int, now: datetime.datetime) -> Event:
    when = "has expired" if days == 0 else f"expires within {days} day{'' if days == 1 else 's'}"
    return Event(
        kind=EventKind.CERTIFICATE_EXPIRY,
        subject=f"certificate:{found.fingerprint_sha256}:{found.group}:{days}",
        group=found.group,
        title=f"{found.title} {when}",
        text=ABOUT[found.role].fix,
        details={
            "Subject": found.subject,
            "Ends": f"{found.not_after:%Y-%m-%d %H:%M} UTC",
            "SHA-256": found.fingerprint_sha256,
            **({"Known": found.known_by} if found.seen_at else {}),
        },
        path=found.page,
        at=now,
    )
