"""What is wrong, in the order in which somebody who was woken up wants to know it.

Laws of this module: no queries. Everything that is listed says where to click; what is merely worth knowing, such as an
exception with an end date, is not listed, so that an empty list means something.
"""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.urls import reverse

from aegis_site.dashboard.overview import Overview
from aegis_site.dashboard.standing import Fleet, HostState, WorkerStanding
from hosts.expiry.expiring import Horizon, horizon_of
from hosts.selectors import WorkerHealth
from hosts.traffic_statistics.plots import percent
from hosts.traffic_statistics.selectors import Point
from upstream_tls.tls.meanings import meaning_of

HOSTS_SHOWN = 10
# What is published is with the workers after a moment; one that needs longer has a problem.
TOLERATED_LAG = datetime.timedelta(seconds=30)

# So many of so many requests of a minute are no accident.
HIGH_ERROR_RATE = 0.05
MIN_REQUESTS = 20

WORKERS = "admin:hosts_proxyworker_changelist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that somebody should look at. `url` is where; `key` names it from one look to the next."""

    key: str
    is_critical: bool
    label: str
    title: str
    text: str
    url: str
    since: datetime.datetime | None = None


def problems(found: Overview, *, now: datetime.datetime) -> list[Problem]:
    """The critical ones first: those that clients notice."""
    listed = [
        *_of_workers(found.workers or (), found.fleet),
        *_of_hosts(found.fleet),
        *_of_traffic(found.traffic),
        *_of_checks(found),
        *_of_failures(found),
        *_of_rotations(found),
        *_of_ends(found, now),
        *_of_messages(found),
    ]
    return sorted(listed, key=lambda problem: not problem.is_critical)


def _of_workers(found: Sequence[WorkerStanding], fleet: Fleet | None) -> Iterator[Problem]:
    url = reverse(WORKERS)
    lost = [standing for standing in found if standing.health is WorkerHealth.LOST]
    if not found and fleet is not None and fleet.served:
        yield Problem(
            key="no-worker",
            is_critical=True,
            label="No worker",
            title="No proxy worker reports",
            text="Nothing serves the hosts: start runproxy, or see in its log why it does not reach the database.",
            url=url,
        )
    for standing in lost:
        yield Problem(
            key=f"worker-{standing.worker.pk}",
            is_critical=True,
            label="Lost",
            title=f"Proxy worker {standing.worker.pk} is lost",
            text="It is the only one: nothing serves the hosts." if len(found) == 1 else "It does not report any more.",
            url=url,
            since=standing.worker.last_seen_at,
        )
    for standing in found:
        if standing.lag is not None and standing.lag > TOLERATED_LAG:
            yield Problem(
                key=f"worker-{standing.worker.pk}",
                is_critical=False,
                label="Behind",
                title=f"Proxy worker {standing.worker.pk} is behind",
                text=f"It serves generation {standing.worker.generation} of {standing.latest}: changes do not arrive.",
                url=url,
            )


def _of_hosts(fleet: Fleet | None) -> Iterator[Problem]:
    if fleet is None:
        return
    for trouble in fleet.troubles[:HOSTS_SHOWN]:
        meaning = meaning_of(trouble.code)
        yield Problem(
            key=f"host-{trouble.host_id}",
            is_critical=trouble.state is HostState.DOWN,
            label=trouble.state.capitalize(),
            title=trouble.name,
            text=f"{trouble.why} {meaning.cause if meaning else trouble.code}".strip(),
            url=reverse("admin:hosts_host_change", args=[trouble.host_id]),
            since=trouble.since,
        )
    if others := fleet.troubles[HOSTS_SHOWN:]:
        is_down = others[0].state is HostState.DOWN
        yield Problem(
            key="other-hosts",
            is_critical=is_down,
            label="Down" if is_down else "Degraded",
            title=f"{len(others)} more host{'' if len(others) == 1 else 's'}",
            text="When so many fail at once, what they share is the first suspect: network, name service, a CA.",
            url=reverse("admin:healthchecks_failuregroup_changelist"),
        )


def _of_traffic(traffic: Point | None) -> Iterator[Problem]:
    if traffic is None or traffic.requests < MIN_REQUESTS or (traffic.error_rate or 0.0) < HIGH_ERROR_RATE:
        return
    yield Problem(
        key="errors",
        is_critical=False,
        label="Errors",
        title=f"{percent(traffic.error_rate)} of all requests fail",
        text=f"Answers of 500 and above, of {traffic.requests:,} in the last minute.",
        url="#db-traffic",
    )


def _of_checks(found: Overview) -> Iterator[Problem]:
    if found.late_checks is not None and found.late_checks.count:
        count = found.late_checks.count
        yield Problem(
            key="late-checks",
            is_critical=False,
            label="Late",
            title=f"{count} health check{' is' if count == 1 else 's are'} overdue",
            text="What is said of upstreams is old: see whether Celery's worker and beat run, and Redis answers.",
            url=reverse("admin:hosts_host_changelist"),
            since=found.late_checks.since,
        )


def _of_failures(found: Overview) -> Iterator[Problem]:
    if found.failures is not None and found.failures.count:
        count = found.failures.count
        yield Problem(
            key="failures",
            is_critical=False,
            label="Failures",
            title=f"{count} open failure{'' if count == 1 else 's'}",
            text="Each with its cause and what to do. Acknowledge what is known, resolve what is over.",
            url=reverse("admin:healthchecks_failuregroup_changelist") + "?state__exact=open",
            since=found.failures.rows[0].last_seen,
        )


def _of_rotations(found: Overview) -> Iterator[Problem]:
    for rotation in found.rotations.rows if found.rotations else ():
        yield Problem(
            key=f"rotation-{rotation.pk}",
            is_critical=False,
            label="Rotation",
            title=f"The rotation of {rotation.host.name} waits for a person",
            text=f"{rotation.get_state_display()}. {rotation.message}".strip(),
            url=reverse("admin:hosts_rotation", args=[rotation.host_id, rotation.pk]),
            since=rotation.created_at,
        )


def _of_ends(found: Overview, now: datetime.datetime) -> Iterator[Problem]:
    horizons = [horizon_of(one.not_after, now) for one in found.ends or ()]
    for horizon, days, label, one, many in (
        (Horizon.EXPIRED, 0, "Expired", "certificate or list is over", "certificates or lists are over"),
        (
            Horizon.WEEK,
            7,
            "Expiry",
            "certificate or list ends within 7 days",
            "certificates or lists end within 7 days",
        ),
    ):
        if count := horizons.count(horizon):
            yield Problem(
                key=f"ends-{horizon}",
                is_critical=False,
                label=label,
                title=f"{count} {one if count == 1 else many}",
                text="Of hosts, of upstreams, or of the local CA; each with what to do.",
                url=f"{reverse('admin:hosts_expiry')}?within_days={days}",
            )


def _of_messages(found: Overview) -> Iterator[Problem]:
    if count := found.undelivered:
        yield Problem(
            key="undelivered",
            is_critical=False,
            label="Messages",
            title=f"{count} notification{' does' if count == 1 else 's do'} not arrive",
            text="Somebody who should know of a problem does not: see what the channel answers.",
            url=reverse("admin:notifications_delivery_changelist"),
        )
