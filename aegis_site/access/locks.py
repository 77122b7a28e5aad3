"""Which sign-ins are locked now, until when, and ending that before its time.

Laws of this module: a lock is counted by `login_limits` for a name at an address, or for an address; here nothing is
counted again. Ending one is in the audit log.
"""

import datetime
from dataclasses import dataclass

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet, Sum

from aegis_site.access.models import SecondFactor
from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.services import record

# Whoever attacks from many addresses makes many; a page shows the newest.
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Sign-ins of this name from this address are refused; without a name, all from there."""

    name: str
    address: str
    failures: int
    until: datetime.datetime


def current_locks(*, now: datetime.datetime) -> list[Lock]:
    """The newest first, at most MOST_SHOWN of each kind. Two queries."""
    counted = _counted(now).order_by()
    by_name = (
        counted.values("username", "ip_address")
        .annotate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
        .filter(failures__gte=settings.AXES_FAILURE_LIMIT)
    )
    by_address = (
        counted.values("ip_address")
        .annotate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
        .filter(failures__gte=settings.AEGIS_LOGIN_FAILURES_PER_ADDRESS)
    )
    rows = [row for locks in (by_address, by_name) for row in locks.order_by("-last")[:MOST_SHOWN]]
    return [
        Lock(
            name=row.get("username") or "",
            address=row["ip_address"] or "",
            failures=row["failures"],
            until=row["last"] + _cool_off(),
        )
        for row in rows
    ]


def refused_factors(*, now: datetime.datetime) -> QuerySet[SecondFactor]:
    """Users whose codes are not looked at for now, whatever the address. One query."""
    return SecondFactor.objects.filter(refused_until__gt=now).select_related("user").order_by("-refused_until")


def with_locks(users: QuerySet[User], *, now: datetime.datetime) -> QuerySet[User]:
    """The users, each with `is_locked_out`: from some address, or by wrong codes. No further query."""
    failed = (
        _counted(now)
        .filter(username=OuterRef("username"))
        .order_by()
        .values("ip_address")
        .annotate(failures=Sum("failures_since_start"))
        .filter(failures__gte=settings.AXES_FAILURE_LIMIT)
    )
    refused = SecondFactor.objects.filter(user=OuterRef("pk"), refused_until__gt=now)
    return users.annotate(is_locked_out=Exists(failed) | Exists(refused))


@transaction.atomic
def unlock(*, name: str, address: str, by: Actor) -> bool:
    """Forget the failures of a name from an address; without a name, all from there. False: there were none."""
    attempts = AccessAttempt.objects.filter(ip_address=address or None)
    if name:
        attempts = attempts.filter(username=name)
    if not attempts.delete()[0]:
        return False
    record(user=by, action="login_unlocked", target_type="login", target_id=address, target_name=name)
    return True


@transaction.atomic
def unlock_user(*, user: User, by: Actor) -> bool:
    """Forget the failures of a user from everywhere, wrong codes included. False: there were none."""
    factor = SecondFactor.objects.filter(user=user, failures__gt=0).first()
    attempts, _ = AccessAttempt.objects.filter(username=user.get_username()).delete()
    if not attempts and factor is None:
        return False
    SecondFactor.objects.filter(user=user).update(failures=0, refused_until=None)
    record(user=by, action="login_unlocked", target_type="login", target_id="", target_name=user.get_username())
    return True


def _counted(now: datetime.datetime) -> QuerySet[AccessAttempt]:
    """What axes has not forgotten."""
    attempts: QuerySet[AccessAttempt] = AccessAttempt.objects.filter(attempt_time__gte=now - _cool_off())
    return attempts


def _cool_off() -> datetime.timedelta:
    return datetime.timedelta(seconds=settings.AEGIS_LOGIN_COOL_OFF_S)
