"""What one user sees of how everything stands.

Laws of this module: whoever may not view something on its own page sees nothing of it here: then it is None. A number
of queries that does not depend on the number of hosts.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from django.db.models import Model, QuerySet

from aegis_site.dashboard.standing import Fleet, LateChecks, WorkerStanding, fleet, late_checks, workers
from aegis_site.kernel.notifications.models import MaintenanceWindow
from aegis_site.kernel.notifications.selectors import undelivered
from healthchecks.failures.models import FailureGroup
from healthchecks.failures.selectors import open_groups
from hosts.expiry.expiring import ABOUT, EXPIRY_DAYS, Expiring
from hosts.expiry.timeline import ExpiryFilter, timeline
from hosts.rotation.models import Rotation
from hosts.traffic_statistics.selectors import Point, current_rates
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.selectors import exceptions_in_force

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, PermissionsMixin

Row = TypeVar("Row", bound=Model)

ROWS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Some(Generic[Row]):
    """How many there are, and the first ROWS_SHOWN of them."""

    count: int
    rows: Sequence[Row]

    @classmethod
    def of(cls, found: "QuerySet[Row]") -> "Some[Row]":
        """One query, two when there are more than are shown."""
        rows = list(found[: ROWS_SHOWN + 1])
        return cls(found.order_by().count() if len(rows) > ROWS_SHOWN else len(rows), rows[:ROWS_SHOWN])


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How everything stands, as far as its reader may see it.

    `ends` are those of which one is told, the first end first: the local CA's list, which is replaced every day, is no
    news unless it is not. `failures` are open and not muted, `rotations` wait for a person, `maintenance` has the open
    windows, `traffic` is that of the last whole minute.
    """

    fleet: Fleet | None
    late_checks: LateChecks | None
    ends: Sequence[Expiring] | None
    exceptions: Some[UpstreamTLSConfiguration] | None
    rotations: Some[Rotation] | None
    traffic: Point | None
    workers: Sequence[WorkerStanding] | None
    failures: Some[FailureGroup] | None
    maintenance: Some[MaintenanceWindow] | None
    undelivered: int | None


def overview(user: "PermissionsMixin | AnonymousUser", *, now: datetime.datetime) -> Overview:
    """What this user may see."""
    sees_hosts = user.has_perm("hosts.view_host")
    sees_workers = user.has_perm("hosts.view_proxyworker")
    sees_failures = user.has_perm("healthchecks.view_failuregroup")
    sees_maintenance = user.has_perm("notifications.view_maintenancewindow")
    sees_deliveries = user.has_perm("notifications.view_delivery")
    waiting = Rotation.objects.without_keys().waiting_for_person().select_related("host").order_by("created_at")
    windows = MaintenanceWindow.objects.filter(begins_at__lte=now, ends_at__gt=now).order_by("ends_at")
    return Overview(
        fleet=fleet(now=now) if sees_hosts else None,
        late_checks=late_checks(now=now) if sees_hosts else None,
        ends=_ends(user, now) if sees_hosts else None,
        exceptions=Some.of(exceptions_in_force(now)) if sees_hosts else None,
        rotations=Some.of(waiting) if sees_hosts else None,
        traffic=current_rates(now_s=now.timestamp()) if sees_hosts else None,
        workers=workers(now=now) if sees_workers else None,
        failures=Some.of(open_groups(now=now)) if sees_failures else None,
        maintenance=Some.of(windows) if sees_maintenance else None,
        undelivered=undelivered(now=now) if sees_deliveries else None,
    )


def _ends(user: "PermissionsMixin | AnonymousUser", now: datetime.datetime) -> list[Expiring]:
    found = timeline(user=user, wanted=ExpiryFilter(within_days=max(EXPIRY_DAYS)), now=now)
    return [one for one in found if one.not_after - now <= datetime.timedelta(days=max(ABOUT[one.role].days))]
