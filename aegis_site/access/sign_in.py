"""Signing in: the password, then the code of whoever has a second factor.

Laws of this module:
- Between the two steps nobody is signed in: the session has a note of whose password was right, for five minutes, and
  the note gives access to nothing. A new password makes it worthless.
- A wrong code is a failed sign-in and counts towards the same lock, which a right password does not reset.
- Where the sign-in leads is checked when it begins and again when it ends: never to another host.
"""

import datetime
from typing import Any, cast

from axes.handlers.proxy import AxesProxyHandler
from django.contrib import messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from aegis_site.access.account_forms import CodeForm
from aegis_site.access.models import SecondFactor
from aegis_site.access.second_factor import Verdict, check, confirmed_factor, reset_since_last_sign_in
from aegis_site.access.standing import note_passed
from aegis_site.kernel.audit.accounts import CODE_REFUSED, FAILED_ACTION

WAITS_FOR = datetime.timedelta(minutes=5)

_NOTE = "aegis.waits_for_code"
_BACKEND = "django.contrib.auth.backends.ModelBackend"


class PasswordStep(LoginView):
    """Name and password. Who has no second factor is signed in by that."""

    def form_valid(self, form: Any) -> HttpResponse:
        user = cast("User", form.get_user())
        if confirmed_factor(user) is not None:
            _note(self.request, user, self.get_success_url())
            return redirect("admin:aegis_sign_in_code")
        reset = reset_since_last_sign_in(user)
        response = super().form_valid(form)
        note_passed(self.request.session, False)
        if reset is not None:
            text = f"Your two-factor sign-in was reset on {date_format(reset.at, 'DATETIME_FORMAT')} by "
            messages.warning(self.request, f"{text}{reset.user_name or 'a command'}. Set it up again.")
        return response


@method_decorator([sensitive_post_parameters("code"), csrf_protect, never_cache], name="dispatch")
class CodeStep(FormView):  # type: ignore[type-arg]
    """The code, after the password was right."""

    form_class = CodeForm
    template_name = "access/code.html"
    factor: SecondFactor

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        factor = _noted_factor(request)
        if factor is None:
            if request.session.pop(_NOTE, None) is not None:
                messages.info(request, "The time for the code is over. Sign in again.")
            return redirect("admin:login")
        self.factor = factor
        if not may_try(request, factor.user):
            return HttpResponse(status=429)
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        try:
            verdict = proved(self.request, self.factor, form.cleaned_data["code"])
        except ValidationError as error:
            form.add_error("code", error)
            return self.form_invalid(form)
        next_url = self.request.session.pop(_NOTE)["next"]
        login(self.request, self.factor.user, backend=_BACKEND)
        note_passed(self.request.session, True)
        if verdict is Verdict.RECOVERY_CODE:
            left = self.factor.recovery_codes.count()
            messages.warning(self.request, f"You signed in with a recovery code, which is used up. {left} are left.")
        return HttpResponseRedirect(next_url if _is_ours(self.request, next_url) else reverse("admin:index"))


def proved(request: HttpRequest, factor: SecondFactor, code: str) -> Verdict:
    """Whether a code is right. Raises ValidationError in words when not, and has counted it then."""
    verdict = check(factor=factor, answer=code, now=timezone.now())
    if verdict is Verdict.REFUSED and factor.refused_until is not None:
        until = date_format(factor.refused_until, "DATETIME_FORMAT")
        text = f"Too many wrong codes: none is accepted before {until}. A recovery code is."
        raise ValidationError(text, code="refused")
    if verdict is Verdict.WRONG:
        count_failure(request, factor.user, CODE_REFUSED)
        text = (
            "This code is wrong, too old, or was used before. Wait for the next one; is the clock of its device right?"
        )
        raise ValidationError(text, code="wrong")
    return verdict


def may_try(request: HttpRequest, user: User) -> bool:
    """Whether no lock stands against it. If one does, the page that says so becomes the answer."""
    if AxesProxyHandler.is_allowed(request, {"username": user.get_username()}):
        return True
    request.axes_locked_out = True  # type: ignore[attr-defined]
    return False


def count_failure(request: HttpRequest, user: User, action: str) -> None:
    """A wrong answer of somebody who is known counts as a failed sign-in; the audit log calls it `action`."""
    credentials = {"username": user.get_username(), FAILED_ACTION: action}
    user_login_failed.send(sender=__name__, credentials=credentials, request=request)


def sign_in_page(
    request: HttpRequest, form: type[AdminAuthenticationForm], context: dict[str, Any]
) -> HttpResponseBase:
    """The first step."""
    page = PasswordStep.as_view(extra_context=context, authentication_form=form, template_name="admin/login.html")
    return page(request)


def _note(request: HttpRequest, user: User, next_url: str) -> None:
    # Whoever knew the key of the session before must not have it with the note.
    request.session.cycle_key()
    request.session[_NOTE] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "until": (timezone.now() + WAITS_FOR).timestamp(),
        "next": next_url,
    }


def _noted_factor(request: HttpRequest) -> SecondFactor | None:
    """That of whom the session has a note, if it still holds."""
    note = request.session.get(_NOTE)
    if note is None or note["until"] < timezone.now().timestamp():
        return None
    user = User.objects.filter(pk=note["user"], is_active=True, is_staff=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), note["hash"]):
        return None
    return confirmed_factor(user)


def _is_ours(request: HttpRequest, url: str) -> bool:
    return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
