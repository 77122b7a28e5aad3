"""Whether a session is through the second factor, and whether its user must have one.

Laws of this module: a session that is not through is none. Asked for all requests, so a session that is through costs
nothing here, and any other one query.
"""

from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Exists, OuterRef, Subquery

from aegis_site.access.models import SecondFactor
from aegis_site.access.roles import Role
from aegis_site.kernel.site_settings.models import THE_ID, SecondFactorFor, SiteSettings

_PASSED = "aegis.second_factor"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user has, and has to have."""

    has_factor: bool
    is_demanded: bool


def has_passed(session: SessionBase) -> bool:
    """Whether a code was entered in it."""
    return bool(session.get(_PASSED, False))


def note_passed(session: SessionBase, passed: bool) -> None:
    """To be called after the sign-in, which may begin a new session."""
    session[_PASSED] = passed


def standing_of(user: User) -> Standing:
    """One query."""
    roles = Group.objects.filter(user=OuterRef("pk"))
    setting = SiteSettings.objects.filter(pk=THE_ID).values("second_factor_for")
    has_factor, wish, is_superuser, administers, operates = (
        User.objects.filter(pk=user.pk)
        .values_list(
            Exists(SecondFactor.objects.filter(user=OuterRef("pk"), confirmed_at__isnull=False)),
            Subquery(setting),
            "is_superuser",
            Exists(roles.filter(name=Role.ADMINISTRATOR.value)),
            Exists(roles.filter(name=Role.OPERATOR.value)),
        )
        .get()
    )
    demanded_of = {
        SecondFactorFor.ADMINISTRATORS: is_superuser or administers,
        SecondFactorFor.OPERATORS: is_superuser or administers or operates,
        SecondFactorFor.EVERYONE: True,
    }
    return Standing(has_factor=has_factor, is_demanded=bool(demanded_of.get(wish, False)))
