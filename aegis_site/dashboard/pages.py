"""The dashboard as a page, and the part of it that the page asks for again.

Laws of this module: looking is a GET; the first steps are put away by a POST, with a CSRF token, of who may add hosts.
The part has the same markup as the page, so the script only puts what is new into its place.
"""

import datetime
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from aegis_site.dashboard.checklist import PERMISSION, first_steps, put_away
from aegis_site.dashboard.overview import ROWS_SHOWN, Overview, overview
from aegis_site.dashboard.problems import Problem, problems
from aegis_site.dashboard.standing import Fleet, HostState, WorkerStanding
from hosts.connection_test_panel import ago
from hosts.expiry.admin import left
from hosts.expiry.expiring import Expiring, Horizon, horizon_of
from hosts.selectors import WorkerHealth
from hosts.traffic_statistics.plots import milliseconds, per_s, percent, plots_of, rows_of
from hosts.traffic_statistics.selectors import Point, fleet_series
from hosts.traffic_statistics.windows import Window
from upstream_tls.models import UpstreamTLSConfiguration

WORKERS_SHOWN = 8

_STATE_NAMES = {
    HostState.DOWN: "down",
    HostState.DEGRADED: "degraded",
    HostState.UP: "up",
    HostState.UNCHECKED: "not checked",
    HostState.OFF: "off",
}
_WORKER_BADGES = {WorkerHealth.CURRENT: "success", WorkerHealth.BEHIND: "warning", WorkerHealth.LOST: "danger"}
_END_BADGES = {Horizon.EXPIRED: "danger", Horizon.WEEK: "danger", Horizon.MONTH: "warning"}


def dashboard(request: HttpRequest, site_context: dict[str, Any]) -> HttpResponse:
    """The whole page."""
    now = timezone.now()
    window = _window(request)
    user: Any = request.user
    steps = first_steps(user, now=now)
    context = {
        **site_context,
        "title": "Dashboard",
        "live_url": _live_url(window),
        "steps": steps,
        "steps_done": sum(step.is_done for step in steps),
        **_live_context(request, now),
    }
    return TemplateResponse(request, "aegis_site/dashboard/page.html", context)


@require_safe
def live_part(request: HttpRequest) -> HttpResponse:
    """All of the page that changes by itself."""
    return TemplateResponse(request, "aegis_site/dashboard/live.html", _live_context(request, timezone.now()))


@require_POST
def put_steps_away(request: HttpRequest) -> HttpResponse:
    """The first steps are not shown any more."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    put_away(user=request.user)
    messages.success(request, "The first steps are put away.")
    return HttpResponseRedirect(reverse("admin:index"))


def _window(request: HttpRequest) -> Window:
    """What of the traffic is shown; nonsense asks for nothing."""
    asked = request.GET.get("window")
    return Window(asked) if asked in Window.values else Window.HOUR


def _live_url(window: Window) -> str:
    return f"{reverse('admin:aegis_dashboard_live')}?window={window.value}"


def _live_context(request: HttpRequest, now: datetime.datetime) -> dict[str, Any]:
    found = overview(request.user, now=now)
    listed = problems(found, now=now)
    return {
        "now": now,
        "found": found,
        "problems": [{"problem": problem, "since": _ago(problem.since, now)} for problem in listed],
        "verdict": _verdict(found, listed),
        "hosts": _hosts(found.fleet) if found.fleet else None,
        "workers": _workers(found.workers, now) if found.workers is not None else None,
        "ends": _ends(found.ends, now) if found.ends is not None else None,
        "exceptions": _exceptions(found.exceptions.rows, now) if found.exceptions else None,
        "failures": [
            {"group": group, "last_seen": ago(group.last_seen, now=now)}
            for group in (found.failures.rows if found.failures else ())
        ],
        "rates": _rates(found.traffic) if found.traffic else None,
        "traffic": _traffic(_window(request), now) if found.traffic else None,
        "may_add_host": request.user.has_perm("hosts.add_host"),
    }


def _verdict(found: Overview, listed: Iterable[Problem]) -> dict[str, str]:
    """One sentence, and its colour."""
    listed = list(listed)
    critical = [problem for problem in listed if problem.is_critical]
    down = found.fleet.counts[HostState.DOWN] if found.fleet else 0
    if critical:
        return {"kind": "danger", "icon": "error", "text": _critical(critical, down)}
    if listed:
        text = "One thing needs attention" if len(listed) == 1 else f"{len(listed)} things need attention"
        return {"kind": "warning", "icon": "warning", "text": text}
    if found.fleet and not found.fleet.total:
        return {"kind": "info", "icon": "rocket_launch", "text": "Ready for the first host"}
    return {"kind": "success", "icon": "check_circle", "text": "Nothing is wrong"}


def _critical(critical: list[Problem], down: int) -> str:
    workers = [problem for problem in critical if problem.key.startswith(("worker-", "no-worker"))]
    parts = []
    if workers:
        parts.append(workers[0].title if len(workers) == 1 else f"{len(workers)} proxy workers are lost")
    if down:
        parts.append(f"{down} host{' is' if down == 1 else 's are'} down")
    return ", and ".join(parts)


def _hosts(fleet: Fleet) -> dict[str, Any]:
    """The bar, in units of its whole, and its legend."""
    parts, x = [], 0.0
    for state, name in _STATE_NAMES.items():
        count = fleet.counts[state]
        if count:
            parts.append({"state": state.value, "name": name, "count": count, "x": x, "width": count})
            x += count
    return {
        "total": fleet.total,
        "parts": parts,
        "label": ", ".join(f"{part['count']} {part['name']}" for part in parts),
    }


def _rates(point: Point) -> dict[str, str]:
    """The last whole minute, in words."""
    return {
        "requests": per_s(point.requests_per_s),
        "errors": percent(point.error_rate),
        "p99": milliseconds(point.p99_ms),
    }


def _traffic(window: Window, now: datetime.datetime) -> dict[str, Any]:
    """All hosts together: plots, the same in rows, and the choice of a window. One query."""
    series = fleet_series(window, now_s=now.timestamp())
    return {
        "windows": [{"window": choice, "is_shown": choice is window, "url": _live_url(choice)} for choice in Window],
        "requests": series.total.requests,
        "plots": plots_of(series),
        "rows": rows_of(series),
    }


def _workers(found: Iterable[WorkerStanding], now: datetime.datetime) -> dict[str, Any]:
    found = list(found)
    return {
        "total": len(found),
        "current": sum(standing.health is WorkerHealth.CURRENT for standing in found),
        "more": max(0, len(found) - WORKERS_SHOWN),
        "rows": [
            {
                "worker": standing.worker,
                "badge": (_WORKER_BADGES[standing.health], standing.health.capitalize()),
                "latest": standing.latest,
                "lag": _lag(standing),
                "seen": ago(standing.worker.last_seen_at, now=now),
                "refused": len(standing.worker.rejected),
            }
            for standing in found[:WORKERS_SHOWN]
        ],
    }


def _lag(standing: WorkerStanding) -> str:
    return "" if standing.lag is None else f"{standing.lag.total_seconds():.0f} s behind"


def _ends(found: Iterable[Expiring], now: datetime.datetime) -> dict[str, Any]:
    found = list(found)
    return {
        "total": len(found),
        "rows": [
            {
                "badge": (_END_BADGES[horizon_of(one.not_after, now)], left(one.days_left(now))),
                "role": one.role.label,
                "owner": one.owner or "Local CA",
                "page": one.page,
                "not_after": one.not_after,
            }
            for one in found[:ROWS_SHOWN]
        ],
    }


def _exceptions(rows: Iterable[UpstreamTLSConfiguration], now: datetime.datetime) -> list[dict[str, Any]]:
    return [
        {
            "configuration": row,
            "badge": ("warning", "No end date")
            if row.skip_verify_until is None
            else ("info", f"{left((row.skip_verify_until - now).days)} left"),
        }
        for row in rows
    ]


def _ago(moment: datetime.datetime | None, now: datetime.datetime) -> str:
    return "" if moment is None else ago(moment, now=now)
