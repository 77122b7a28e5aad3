"""How the upstreams of a host stand, and how they stood.

Laws of this module: plain documents, in a constant number of queries; numbers that nobody measured are None.
"""

import datetime
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from healthchecks.history import UPTIME_PERIODS, Period, Range, newest_of_each, points_of, stretches_of, uptimes
from healthchecks.models import HealthState, HealthTransition, UpstreamHealth
from healthchecks.section import SECTION
from healthchecks.sums import Sums, mean_ms, quantile_ms
from healthchecks.uptime import Stretch, Uptime
from hosts.models import Host, Upstream

SHOWN_TRANSITIONS = 50


def health_of(host: Host, *, now: datetime.datetime) -> dict[str, Any]:
    """The document of one host, read `with_configuration`. Six queries."""
    check = SECTION.row_of(host)
    upstreams = list(host.upstreams.all())
    ids = [upstream.pk for upstream in upstreams]
    standing = UpstreamHealth.objects.in_bulk(ids)
    transitions = transitions_of(ids, limit=SHOWN_TRANSITIONS)
    points = points_of(ids, Period.ending(None, range_=Range.HOUR, now=now))
    stood = stretches_of(ids, standing, since=now - max(UPTIME_PERIODS.values()), until=now)
    return {
        "enabled": check.enabled and host.enabled,
        "interval_s": check.interval_s,
        "upstreams": [
            {
                **_upstream(upstream, standing.get(upstream.pk)),
                "uptime": {name: _uptime(found) for name, found in uptimes(stood[upstream.pk], now=now).items()},
                "transitions": transitions[upstream.pk],
                "last_hour": [_point(sums) for sums in points.get(upstream.pk, ())],
            }
            for upstream in upstreams
        ],
    }


def history_of(host: Host, period: Period, *, upstream_id: uuid.UUID | None = None) -> dict[str, Any]:
    """How the upstreams of one host, or one of them, stood and answered in a period. Five queries, or six."""
    ids = [upstream.pk for upstream in host.upstreams.all() if upstream_id in (None, upstream.pk)]
    standing = UpstreamHealth.objects.in_bulk(ids)
    stood = stretches_of(ids, standing, since=period.since, until=period.until)
    points = points_of(ids, period)
    return {
        "since": period.since,
        "until": period.until,
        "step_s": period.range.step_s,
        "upstreams": [
            {
                "id": found,
                "states": [_stretch(stretch) for stretch in stood[found]],
                "points": [_point(sums) for sums in points.get(found, ())],
            }
            for found in ids
        ],
    }


def _uptime(found: Uptime) -> dict[str, Any]:
    return {"percent": found.percent, "known_s": found.known_s}


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {"state": stretch.state, "since": stretch.since, "until": stretch.until}


def _point(sums: Sums) -> dict[str, Any]:
    return {
        "at": datetime.datetime.fromtimestamp(sums.start_s, tz=datetime.UTC),
        "span_s": sums.span_s,
        "count": sums.count,
        "failures": sums.failures,
        "min_ms": sums.min_ms,
        "mean_ms": mean_ms(sums),
        "p95_ms": quantile_ms(sums, 0.95),
        "max_ms": sums.max_ms,
        "codes": sums.codes,
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


def transitions_of(upstream_ids: Sequence[uuid.UUID], *, limit: int) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Of each upstream the last changes, newest first. One query."""
    found: defaultdict[uuid.UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in newest_of_each(HealthTransition.objects.filter(upstream__in=upstream_ids), limit=limit):
        found[row.upstream_id].append(
            {"at": row.at, "previous": row.previous, "state": row.state, "code": row.code, "message": row.message}
        )
    return found
