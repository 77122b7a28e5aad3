"""How often a sign-in may fail, by django-axes in the database.

Laws of this module:
- Counted are failures by user name together with address, and by address alone. Never by user name alone: anybody could
  lock an administrator out from anywhere.
- Who is locked out learns only for how long. Neither text nor time says whether a user exists.
- What was typed as a name is kept only if there is such a user; else a mark of it is counted. It may be a password.
- A success forgets the failures of that user name from that address, not those of others: whoever may sign in could
  otherwise guess the passwords of others for ever.
"""

import datetime
import math
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib import admin
from django.db.models import Max
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from aegis_site.kernel.audit.accounts import recordable_name
from aegis_site.kernel.audit.services import record


class LoginLimits(AxesDatabaseHandler):
    """axes' own handler, with a limit of its own for addresses."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """As many as lock out, when either limit is reached."""
        by_name, by_address = (_total(attempts) for attempts in self.get_user_attempts(request, credentials))
        if by_address >= settings.AEGIS_LOGIN_FAILURES_PER_ADDRESS:
            return max(by_name, settings.AXES_FAILURE_LIMIT)
        return by_name

    def reset_attempts(self, *, username: str | None = None, **options: Any) -> int:
        """What `manage.py axes_reset_username` calls."""
        count: int = super().reset_attempts(username=recordable_name(username) if username else username, **options)
        return count

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        by_name, _ = self.filter_user_attempts(request, credentials)
        count: int = by_name.delete()[0]
        return count


def counted_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """AXES_USERNAME_CALLABLE: by which name a sign-in is counted."""
    typed = (request.POST if credentials is None else credentials).get("username")
    return None if typed is None else recordable_name(str(typed))


def _total(attempts: Any) -> int:
    return sum(attempts.values_list("failures_since_start", flat=True))


@receiver(user_locked_out)
def record_lockout(request: HttpRequest, username: str | None, ip_address: str | None, **kwargs: Any) -> None:
    """The audit log gets one entry when the limit is reached, not one for each attempt after that."""
    if getattr(request, "axes_failures_since_start", None) is None:
        return
    record(
        user=None,
        action="login_locked",
        target_type="login",
        target_id=ip_address or "",
        target_name=username or "",
    )


def locked_page(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE: instead of the sign-in form."""
    wait_s = _wait_s(request)
    context = {
        **admin.site.each_context(request),
        "title": "Sign-in locked",
        "minutes": math.ceil(wait_s / 60),
        "until": timezone.now() + datetime.timedelta(seconds=wait_s),
    }
    locked = render(request, "access/locked.html", context, status=429)
    locked["Retry-After"] = str(wait_s)
    locked["Cache-Control"] = "no-store"
    return locked


def _wait_s(request: HttpRequest) -> int:
    """Until the last failure that counts is forgotten. The same for each user name, whether it exists or not."""
    address = getattr(request, "axes_ip_address", None)
    cool_off = datetime.timedelta(seconds=settings.AEGIS_LOGIN_COOL_OFF_S)
    last = AccessAttempt.objects.filter(ip_address=address).aggregate(last=Max("attempt_time"))["last"]
    until = (last or timezone.now()) + cool_off
    return max(1, math.ceil((until - timezone.now()).total_seconds()))
