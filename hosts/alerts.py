"""What is told of proxy workers and of certificates.

Laws of this module: each function is a sweep over what is stored, and may run at any time, also twice: what was told
already is not told again (`aegis_site.kernel.notifications.events`).
"""

import datetime
from collections.abc import Iterator

from aegis_site.kernel.certificates import CertificateFacts
from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, host_group, settle, tell_all
from hosts.models import Host, ProxyWorker
from hosts.selectors import LOST_AFTER, refusals
from localca.selectors import active_authority

# Days before the end at which one is told; on the last, and when it is over, again.
EXPIRY_DAYS = (0, 1, 7, 14, 30)

HOSTS_PER_READ = 200

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
    """Certificates of enabled hosts and of the local CA that end within thirty days, or have ended."""
    tell_all(list(_expiry_of_authority(now)))
    hosts = Host.objects.filter(enabled=True).select_related("upstream_tls", "downstream_tls").order_by("pk")
    hosts = hosts.defer("upstream_tls__client_key", "downstream_tls__key", "upstream_tls__crl")
    batch: list[Event] = []
    for host in hosts.iterator(HOSTS_PER_READ):
        batch.extend(_expiry_of_host(host, now))
        if len(batch) >= HOSTS_PER_READ:
            tell_all(batch)
            batch = []
    tell_all(batch)


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


def _expiry_of_authority(now: datetime.datetime) -> Iterator[Event]:
    authority = active_authority()
    if authority is not None:
        page = admin_page(authority)
        yield from _expiry("The local CA", authority.facts, group="localca", path=page, now=now)


def _expiry_of_host(host: Host, now: datetime.datetime) -> Iterator[Event]:
    upstream, downstream = host.upstream_configuration, host.downstream_configuration
    leaf = upstream.client_certificate_facts[:1] if upstream.enabled else ()
    uses = (
        ("The client certificate", leaf),
        ("A CA certificate", upstream.ca_certificate_facts),
        ("The certificate that clients see", downstream.certificate_facts[:1]),
    )
    for use, certificates in uses:
        for facts in certificates:
            name = f"{use} of {host.name}"
            yield from _expiry(name, facts, group=host_group(host.pk), path=admin_page(host), now=now)


def _expiry(name: str, facts: CertificateFacts, *, group: str, path: str, now: datetime.datetime) -> Iterator[Event]:
    left = facts.not_after - now
    days = next((days for days in EXPIRY_DAYS if left <= datetime.timedelta(days=days)), None)
    if days is None:
        return
    when = "has expired" if days == 0 else f"expires within {days} day{'' if days == 1 else 's'}"
    yield Event(
        kind=EventKind.CERTIFICATE_EXPIRY,
        subject=f"certificate:{facts.fingerprint_sha256}:{group}:{days}",
        group=group,
        title=f"{name} {when}",
        details={
            "Subject": facts.subject,
            "Ends": f"{facts.not_after:%Y-%m-%d %H:%M} UTC",
            "SHA-256": facts.fingerprint_sha256,
        },
        path=path,
        at=now,
    )
