"""How the upstreams of a host stand, and how they stood.

Laws of this module: plain documents, in a constant number of queries; numbers that nobody measured are None.
"""

import datetime
import uuid
from collections import defaultdict
from typing import Any

from django.db.models import Count, F, Q, Window
from django.db.models.functions import RowNumber

from healthchecks.models import HealthSample, HealthState, HealthTransition, UpstreamHealth
from healthchecks.section import SECTION
from hosts.models import Host, Upstream

SHOWN_TRANSITIONS = 50
SHOWN_SAMPLES = 100

_DAY = datetime.timedelta(hours=24)


def health_of(host: Host, *, now: datetime.datetime) -> dict[str, Any]:
    """The document of one host, read `with_configuration`. Four queries."""
    check = SECTION.row_of(host)
    upstreams = list(host.upstreams.all())
    standing = UpstreamHealth.objects.in_bulk([upstream.pk for upstream in upstreams])
    transitions = _transitions(host)
    samples = _samples(host, since=now - datetime.timedelta(seconds=check.interval_s * SHOWN_SAMPLES))
    uptimes = _uptimes(host, since=now - _DAY)
    return {
        "enabled": check.enabled and host.enabled,
        "interval_s": check.interval_s,
        "upstreams": [
            {
                **_upstream(upstream, standing.get(upstream.pk)),
                "uptime_24h_percent": uptimes.get(upstream.pk),
                "transitions": transitions[upstream.pk],
                "samples": samples[upstream.pk][:SHOWN_SAMPLES],
            }
            for upstream in upstreams
        ],
    }


def _upstream(upstream: Upstream, health: UpstreamHealth | None) -> dict[str, Any]:
    return {
        "id": upstream.pk,
        "scheme": upstream.scheme,
        "address": upstream.address,
        "port": upstream.port,
        "enabled": upstream.enabled,
        "state": health.state if health else HealthState.UNKNOWN,
        "since": health.since if health else None,
        "successes": health.successes if health else 0,
        "failures": health.failures if health else 0,
        "last_check": _last_check(health) if health and health.checked_at else None,
    }


def _last_check(health: UpstreamHealth) -> dict[str, Any]:
    return {
        "at": health.checked_at,
        "ok": bool(health.is_ok),
        "duration_ms": health.duration_ms,
        "status": health.status,
        "code": health.code,
        "message": health.message,
    }


def _transitions(host: Host) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Of each upstream the last ones, newest first."""
    position = Window(RowNumber(), partition_by=F("upstream_id"), order_by=[F("at").desc(), F("pk").desc()])
    found: defaultdict[uuid.UUID, list[dict[str, Any]]] = defaultdict(list)
    rows = HealthTransition.objects.filter(upstream__host=host).alias(position=position)
    for row in rows.filter(position__lte=SHOWN_TRANSITIONS):
        found[row.upstream_id].append(
            {"at": row.at, "previous": row.previous, "state": row.state, "code": row.code, "message": row.message}
        )
    return found


def _samples(host: Host, *, since: datetime.datetime) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Of each upstream those of the last intervals, newest first."""
    found: defaultdict[uuid.UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in HealthSample.objects.filter(upstream__host=host, at__gte=since):
        found[row.upstream_id].append(
            {
                "at": row.at,
                "ok": row.is_ok,
                "duration_ms": row.duration_ms,
                "status": row.status,
                "code": row.code,
            }
        )
    return found


def _uptimes(host: Host, *, since: datetime.datetime) -> dict[uuid.UUID, float]:
    """Of each upstream that was checked the share of checks that went well."""
    rows = (
        HealthSample.objects.filter(upstream__host=host, at__gte=since)
        .order_by()
        .values("upstream_id")
        .annotate(total=Count("pk"), good=Count("pk", filter=Q(is_ok=True)))
    )
    return {row["upstream_id"]: round(100 * row["good"] / row["total"], 2) for row in rows}
