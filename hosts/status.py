"""How a host stands, in one word: what its list shows, filters and sorts by.

Laws of this module:
- One expression in the database, so that the list, its filter and its order never disagree, and none costs a query for
  each host.
- Only what was seen counts: active checks, what the workers refuse, and upstreams that failed requests lately. Where
  nobody looks, the host is unchecked, not up.
- The rows of checks belong to an app above this one; they are read by their related names.
"""

import datetime

from django.db.models import Case, Exists, IntegerChoices, IntegerField, OuterRef, Q, Value, When

from hosts.models import CompiledHost, Upstream, UpstreamFailure
from hosts.querysets import HostQuerySet
from hosts.selectors import refusals
from hosts.upstream_failures import RECENT


class HostStatus(IntegerChoices):
    """In the order in which somebody has to look at them.

    DOWN: refused by a worker, without an upstream that takes requests, or all of these fail their checks.
    DEGRADED: some fail their checks, or failed requests within the last minutes. UNCHECKED: nothing is known to fail,
    and no check has said that an upstream is well. DISABLED: not served, because somebody wants that.
    """

    DOWN = 0, "Down"
    DEGRADED = 1, "Degraded"
    UNCHECKED = 2, "Unchecked"
    UP = 3, "Up"
    DISABLED = 4, "Disabled"


def with_status(hosts: HostQuerySet, *, now: datetime.datetime) -> HostQuerySet:
    """The hosts with `status`, the number of a HostStatus. One query now, for what the workers refuse."""
    of_host = Upstream.objects.filter(host=OuterRef("pk"), enabled=True, drain=False)
    checked = of_host.filter(host__health_check__enabled=True)
    is_unhealthy = Q(health__state="unhealthy")
    failing = UpstreamFailure.objects.filter(
        upstream__host=OuterRef("pk"), upstream__enabled=True, at__gte=now - RECENT
    )
    broken = CompiledHost.objects.filter(pk=OuterRef("pk")).exclude(problem="")
    is_refused = Q(pk__in=list(refusals(now=now))) | Exists(broken)
    is_any_unhealthy = Exists(checked.filter(is_unhealthy))
    is_all_unhealthy = is_any_unhealthy & ~Exists(checked.filter(Q(health__isnull=True) | ~is_unhealthy))
    return hosts.annotate(
        status=Case(
            When(Q(enabled=False), then=Value(HostStatus.DISABLED)),
            When(is_refused | ~Exists(of_host) | is_all_unhealthy, then=Value(HostStatus.DOWN)),
            When(is_any_unhealthy | Exists(failing), then=Value(HostStatus.DEGRADED)),
            When(Exists(checked.filter(health__state="healthy")), then=Value(HostStatus.UP)),
            default=Value(HostStatus.UNCHECKED),
            output_field=IntegerField(),
        )
    )
