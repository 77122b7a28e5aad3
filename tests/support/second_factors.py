"""Users with a second factor, and what their app shows."""

import datetime
from dataclasses import dataclass

import pyotp
from django.contrib.auth.models import User

from aegis_site.access import second_factor
from aegis_site.access.models import SecondFactor


@dataclass(frozen=True)
class Enrolled:
    """A second factor that is on, and its recovery codes."""

    factor: SecondFactor
    codes: list[str]


def code_at(factor: SecondFactor, moment: datetime.datetime) -> str:
    """What the app shows then."""
    return pyotp.TOTP(second_factor.secret_of(factor)).at(moment)


def enrolled(user: User, *, now: datetime.datetime) -> Enrolled:
    """Turned on by the code of `now`, which is used up."""
    factor = second_factor.begin(user=user)
    codes = second_factor.confirm(factor=factor, code=code_at(factor, now), session_key=None, now=now)
    assert codes is not None
    return Enrolled(SecondFactor.objects.select_related("user").get(pk=factor.pk), codes)
