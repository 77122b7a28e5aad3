"""What is told of changes of state.

Laws of this module: called in the transaction that records the changes, and only when there are some; a number of
queries that does not depend on theirs.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence

from django.db.models import Count, Q

from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, host_group, settle, tell_all
from healthchecks.models import HealthState, HealthTransition, UpstreamHealth
from hosts.models import Upstream
from upstream_tls.tls.meanings import meaning_of


def tell_of(transitions: Sequence[HealthTransition]) -> None:
    """Upstreams that are down or up again, hosts without a healthy upstream or served again."""
    if not transitions:
        return
    upstreams = Upstream.objects.select_related("host").in_bulk([change.upstream_id for change in transitions])
    known = [(change, upstreams[change.upstream_id]) for change in transitions if change.upstream_id in upstreams]
    events = [event for change, upstream in known for event in _of_upstream(change, upstream)]
    tell_all([*events, *_of_hosts(known)])


def settle_what_is_over() -> None:
    """Ends in silence what was told of upstreams that are gone, or are not checked any more. Four queries, mostly."""
    down = UpstreamHealth.objects.filter(state=HealthState.UNHEALTHY)
    settle(EventKind.UPSTREAM_DOWN, lasting={f"upstream:{pk}" for pk in down.values_list("pk", flat=True)})
    settle(EventKind.HOST_WITHOUT_UPSTREAM, lasting={f"host:{pk}" for pk in _unserved(Q())})


def _of_upstream(change: HealthTransition, upstream: Upstream) -> Iterator[Event]:
    name = f"Upstream {upstream.address}:{upstream.port} of {upstream.host.name}"
    subject, group, path = f"upstream:{upstream.pk}", host_group(upstream.host_id), admin_page(upstream.host)
    if change.state == HealthState.HEALTHY:
        yield Event(
            kind=EventKind.UPSTREAM_UP,
            subject=subject,
            group=group,
            title=f"{name} is up again",
            path=path,
            at=change.at,
        )
        return
    meaning = meaning_of(change.code)
    details = {"Code": change.code, "Message": change.message}
    yield Event(
        kind=EventKind.UPSTREAM_DOWN,
        subject=subject,
        group=group,
        title=f"{name} is down",
        text=meaning.cause if meaning else "",
        details=details,
        path=path,
        at=change.at,
    )


def _of_hosts(known: Sequence[tuple[HealthTransition, Upstream]]) -> Iterator[Event]:
    """What the changes mean for their hosts. One query."""
    of_host: defaultdict[uuid.UUID, list[tuple[HealthTransition, Upstream]]] = defaultdict(list)
    for change, upstream in known:
        of_host[upstream.host_id].append((change, upstream))
    unserved = _unserved(Q(upstream__host__in=list(of_host)))
    for host_id, changes in of_host.items():
        change, upstream = max(changes, key=lambda pair: pair[0].at)
        is_unserved = host_id in unserved
        what = "has no healthy upstream" if is_unserved else "is served again"
        yield Event(
            kind=EventKind.HOST_WITHOUT_UPSTREAM if is_unserved else EventKind.HOST_SERVED_AGAIN,
            subject=f"host:{host_id}",
            group=host_group(host_id),
            title=f"{upstream.host.name} {what}",
            text="None of its upstreams passes its checks." if is_unserved else "",
            path=admin_page(upstream.host),
            at=change.at,
        )


def _unserved(which: Q) -> set[uuid.UUID]:
    """Hosts all of whose checked upstreams are unhealthy. One query."""
    rows = (
        UpstreamHealth.objects.filter(which, upstream__enabled=True)
        .values_list("upstream__host")
        .annotate(others=Count("pk", filter=~Q(state=HealthState.UNHEALTHY)))
        .order_by()
    )
    return {host_id for host_id, others in rows if not others}
