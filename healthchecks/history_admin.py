"""The health of a host's upstreams in the admin: a section of its page, and a page of its own for more upstreams.

Laws of this module: nothing is changed, and only who may view hosts sees it; a constant number of
queries, and at most UPSTREAMS_SHOWN are drawn.
"""

import datetime
import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString

from healthchecks import plots
from healthchecks.history import UPTIME_PERIODS, Period, Range, points_of, stretches_of, uptimes
from healthchecks.models import HealthState, UpstreamHealth
from healthchecks.selectors import transitions_of
from healthchecks.uptime import Uptime, clipped
from hosts.models import Host, Upstream

UPSTREAMS_SHOWN = 10
CHANGES_SHOWN = 5
RANGES = (Range.DAY, Range.WEEK, Range.MONTH)

_BADGES = {HealthState.HEALTHY: "success", HealthState.UNHEALTHY: "danger", HealthState.UNKNOWN: "info"}
_UPTIME_NAMES = {"last_24h": "24 hours", "last_7d": "7 days", "last_30d": "30 days"}


def pages(admin_site: AdminSite) -> list[URLPattern]:
    """The addresses, below that of hosts."""

    def view(request: HttpRequest, host_id: uuid.UUID) -> HttpResponse:
        return health_page(request, host_id, admin_site)

    return [path("<uuid:host_id>/health/", admin_site.admin_view(view), name="hosts_host_health")]


def health_page(request: HttpRequest, host_id: uuid.UUID, admin_site: AdminSite) -> HttpResponse:
    """How the upstreams of one host stood; with `?fragment=1` only the section, to be put into the host's page."""
    user: Any = request.user
    if not (user.has_perm("hosts.view_host") or user.has_perm("hosts.change_host")):
        raise PermissionDenied
    host = get_object_or_404(Host.objects.all(), pk=host_id)
    asked = request.GET.get("range")
    range_ = Range(asked) if asked in RANGES else Range.DAY
    section = history_section(host, range_=range_, page=request.GET.get("page"), now=timezone.now())
    if "fragment" in request.GET:
        return HttpResponse(section)
    context = {
        **admin_site.each_context(request),
        "title": f"Health of {host.name}",
        "host": host,
        "section": section,
    }
    return TemplateResponse(request, "healthchecks/page.html", context)


def history_section(host: Host, *, range_: Range, page: str | None, now: datetime.datetime) -> SafeString:
    """State, uptime, timeline and latency of each upstream. Eight queries."""
    period = Period.ending(None, range_=range_, now=now)
    shown: Page[Upstream] = Paginator(host.upstreams.order_by("position", "id"), UPSTREAMS_SHOWN).get_page(page)
    context = {
        "url": reverse("admin:hosts_host_health", args=[host.pk]),
        "ranges": [(choice.value, choice.label, choice is range_) for choice in RANGES],
        "range": range_.value,
        "page": shown,
        "rows": _rows(list(shown), period, now=now),
        "steps": plots.steps_in(range_),
        "height": plots.LATENCY_HEIGHT,
        "marks": _marks(period),
    }
    return render_to_string("healthchecks/history.html", context)


def _rows(upstreams: list[Upstream], period: Period, *, now: datetime.datetime) -> list[dict[str, Any]]:
    ids = [upstream.pk for upstream in upstreams]
    standing = UpstreamHealth.objects.in_bulk(ids)
    stood = stretches_of(ids, standing, since=now - max(UPTIME_PERIODS.values()), until=now)
    points = points_of(ids, period)
    changes = transitions_of(ids, limit=CHANGES_SHOWN)
    rows = []
    for upstream in upstreams:
        own, health = points.get(upstream.pk, []), standing.get(upstream.pk)
        state = HealthState(health.state) if health else HealthState.UNKNOWN
        rows.append(
            {
                "upstream": upstream,
                "health": health,
                "badge": (_BADGES[state], state.label if health else "Not checked"),
                "uptimes": [
                    (_UPTIME_NAMES[name], _percent(found), _known(found, UPTIME_PERIODS[name]))
                    for name, found in uptimes(stood[upstream.pk], now=now).items()
                ],
                "bars": _bars(plots.timeline(clipped(stood[upstream.pk], since=period.since), period)),
                "latency": plots.latency(own, period),
                "table": _table(plots.table(own, period)),
                "changes": changes[upstream.pk],
            }
        )
    return rows


def _bars(bars: Iterable[plots.Bar]) -> SafeString:
    """Here and not in the template, as are the rows of tables: a month of ten upstreams has hundreds of each."""
    # State and numbers are ours; to escape each of them took a tenth of the page.
    return SafeString(
        "".join(
            f'<rect class="hh-{bar.state.value}" x="{bar.x}" width="{bar.width}" y="0" height="10">'
            f"<title>{escape(bar.title)}</title></rect>"
            for bar in bars
        )
    )


def _table(lines: Iterable[dict[str, Any]]) -> SafeString:
    rows = []
    for line in lines:
        milliseconds = "</td><td>".join(_milliseconds(line[name]) for name in ("mean_ms", "p95_ms", "max_ms"))
        codes = escape(", ".join(f"{code} ({count})" for code, count in line["codes"]))
        rows.append(
            f'<tr><th scope="row">{escape(line["since"])}</th><td>{line["count"]:d}</td><td>{line["failures"]:d}</td>'
            f"<td>{milliseconds}</td><td>{codes}</td></tr>"
        )
    return SafeString("".join(rows))


def _milliseconds(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.1f}".removesuffix(".0") + " ms"


def _percent(found: Uptime) -> str:
    """With as many digits as say something: 100 %, 99.95 %, 87.5 %."""
    return "no data" if found.percent is None else f"{found.percent:.3f}".rstrip("0").rstrip(".") + " %"


def _known(found: Uptime, length: datetime.timedelta) -> str:
    """How much of the time is known, when that is not nearly all of it."""
    share = found.known_s / length.total_seconds()
    return "" if share == 0 or share > 0.99 else f"of {_spoken(found.known_s)}"


def _spoken(seconds: int) -> str:
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{seconds} s"


def _marks(period: Period) -> list[str]:
    """What stands below a drawing: its begin, its middle, its end."""
    written = "%H:%M" if period.range is Range.DAY else "%d %b"
    middle = period.since + period.range.length / 2
    return [f"{period.since:{written}}", f"{middle:{written}}", "now"]
