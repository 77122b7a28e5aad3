"""Questions about the failure inbox."""

import datetime
from collections.abc import Sequence

from django.db.models import F, Q, QuerySet

from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.failures.models import FailureGroup, FailureState, Source
from hosts.audit import HOSTS

# What was changed so long before a failure may be why.
BEFORE = datetime.timedelta(minutes=30)
# The clocks of two machines differ by so much.
CLOCK_SKEW = datetime.timedelta(seconds=5)
SHOWN_CHANGES = 20

# What concerns every host: trust in the local CA and in what it issued, and the settings of this installation.
_OF_ALL_HOSTS = ("ca", "certificate", "settings", "secrets")


def failure_groups() -> QuerySet[FailureGroup]:
    """All groups with host and upstream, and `total`, for lists. One query."""
    total = F("traffic_count") + F("check_count") + F("test_count")
    # Groups whose host or upstream was deleted a moment ago are left out: the joins are inner ones.
    return FailureGroup.objects.select_related("host", "upstream").annotate(total=total)


def muted(now: datetime.datetime) -> Q:
    """Those of which nobody wants to hear now."""
    return Q(muted_until__isnull=False, muted_until__gt=now)


def met_by(source: Source) -> Q:
    """Those that were met there at least once."""
    return Q(**{f"{source.value}_count__gt": 0})


def open_groups(*, now: datetime.datetime) -> QuerySet[FailureGroup]:
    """Those that are open and not muted, the newest first. One query."""
    return failure_groups().filter(~muted(now), state=FailureState.OPEN)


def open_count(*, now: datetime.datetime) -> int:
    """How many are open and not muted. One query of an index."""
    return FailureGroup.objects.filter(~muted(now), state=FailureState.OPEN).count()


def changes_before(group: FailureGroup) -> Sequence[AuditEntry]:
    """What was changed shortly before the group opened, of its host and of all hosts, newest first. One query."""
    of_host = Q(target_type=HOSTS.target_type, target_id=str(group.host_id))
    return list(
        AuditEntry.objects.filter(
            of_host | Q(target_type__in=_OF_ALL_HOSTS),
            at__gte=group.opened_at - BEFORE,
            at__lte=group.opened_at + CLOCK_SKEW,
        )[:SHOWN_CHANGES]
    )
