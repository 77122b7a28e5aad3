"""Hosts, workers and checks in the states that the dashboard tells of; good for an hour of tests."""

import datetime
from typing import Any

from django.utils import timezone

from healthchecks.models import HealthState, UpstreamHealth
from hosts.models import CompiledHost, Host, ProxyWorker, Upstream, UpstreamFailure
from proxyworker.snapshot import SCHEMA_VERSION

NOW = timezone.now()
MINUTE = datetime.timedelta(minutes=1)


def checked(upstream: Upstream, state: HealthState, **values: Any) -> UpstreamHealth:
    """What the last check, ten seconds ago, says of an upstream; the state is five minutes old."""
    return UpstreamHealth.objects.create(
        **{
            "upstream": upstream,
            "state": state,
            "since": NOW - 5 * MINUTE,
            "checked_at": NOW - MINUTE / 6,
            "fresh_until": NOW + 60 * MINUTE,
            "is_ok": state == HealthState.HEALTHY,
            "code": "connection_refused" if state == HealthState.UNHEALTHY else "",
            "next_due_at": NOW + 60 * MINUTE,
            **values,
        }
    )


def healthy(host: Host) -> Host:
    """All its upstreams pass."""
    for upstream in host.upstreams.all():
        checked(upstream, HealthState.HEALTHY)
    return host


def failing(host: Host, **values: Any) -> Host:
    """None of its upstreams passes."""
    for upstream in host.upstreams.all():
        checked(upstream, HealthState.UNHEALTHY, **values)
    return host


def worker(name: str = "edge:9180", **values: Any) -> ProxyWorker:
    """One that has just reported."""
    return ProxyWorker.objects.create(
        **{"worker_id": name, "generation": 0, "accepted": 1, "last_seen_at": timezone.now(), **values}
    )


def published(host: Host, generation: int, **values: Any) -> CompiledHost:
    """What the workers get of it."""
    return CompiledHost.objects.create(
        **{
            "pk": host.pk,
            "name": host.name,
            "entry_json": "{}",
            "schema_version": SCHEMA_VERSION,
            "generation": generation,
            "compiled_at": NOW - MINUTE,
            **values,
        }
    )


def failed_request(host: Host, by: ProxyWorker, **values: Any) -> UpstreamFailure:
    """A request failed at its first upstream, a minute ago."""
    return UpstreamFailure.objects.create(
        **{
            "upstream": host.upstreams.all()[0],
            "worker": by,
            "phase": "connect",
            "code": "connection_refused",
            "at": NOW - MINUTE,
            "count": 1,
            **values,
        }
    )
