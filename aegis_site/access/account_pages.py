"""Pages of the signed-in user's own account, and of who else is signed in or locked out.

Laws of this module: recovery codes are on the page that answers the POST which made them, and nowhere else. Whatever
changes something is a POST, and of others' accounts needs the right to change users; only superusers touch superusers.
"""

import uuid
from collections.abc import Callable
from typing import Any, cast

import segno
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.core.validators import validate_ipv46_address
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from aegis_site.access import second_factor
from aegis_site.access.account_forms import FirstCodeForm, ProofForm
from aegis_site.access.locks import current_locks, refused_factors, unlock
from aegis_site.access.models import SecondFactor, Session
from aegis_site.access.session_list import end_session, end_sessions, live_sessions
from aegis_site.access.sign_in import count_failure, may_try, proved
from aegis_site.access.standing import note_passed, standing_of
from aegis_site.kernel.audit.accounts import SIGN_IN_FAILED
from aegis_site.kernel.audit.services import storable

SECRET_PARAMETERS = ("password", "code")
SESSIONS_PER_PAGE = 50

VIEW_USERS, CHANGE_USERS = "auth.view_user", "auth.change_user"

Context = dict[str, Any]


def may_touch(request: HttpRequest, user: Any) -> bool:
    """Otherwise an administrator could become a superuser, by a new password."""
    return bool(request.user.is_superuser or not getattr(user, "is_superuser", False))


def two_factor_page(request: HttpRequest, site_context: Context) -> HttpResponse:
    """Setting up a second factor, and what can be done with it."""
    user = cast("User", request.user)
    if request.method == "POST":
        action = _ACTIONS.get(request.POST.get("action", ""))
        if action is None:
            raise BadRequest("no such action")
        return action(request, user, site_context)
    return _two_factor(request, user, site_context)


def _two_factor(request: HttpRequest, user: User, site_context: Context, **forms: Any) -> HttpResponse:
    factor = second_factor.confirmed_factor(user)
    pending = None if factor else second_factor.pending_factor(user)
    is_demanded = standing_of(user).is_demanded
    context = {
        **site_context,
        "title": "Two-factor sign-in",
        "factor": factor,
        "codes_left": factor.recovery_codes.count() if factor else 0,
        "pending": pending,
        "is_demanded": is_demanded,
        "first_code_form": FirstCodeForm(),
        "renew_form": ProofForm(auto_id="renew_%s"),
        "off_form": ProofForm(auto_id="off_%s"),
        **forms,
    }
    if pending:
        context |= {"picture": _picture_of(pending), "secret": _in_groups(second_factor.secret_of(pending))}
    if is_demanded and factor is None:
        # Nothing else opens.
        page = {"title": context["title"], "icon": "key", "link": request.path, "has_permission": True, "active": True}
        context |= {"sidebar_navigation": [{"title": "Account", "items": [page]}], "available_apps": []}
    return _unstored(TemplateResponse(request, "access/two_factor.html", context))


def _begin(request: HttpRequest, user: User, site_context: Context) -> HttpResponse:
    try:
        second_factor.begin(user=user)
    except second_factor.AlreadyOn as error:
        messages.info(request, error.message)
    return redirect("admin:aegis_two_factor")


def _confirm(request: HttpRequest, user: User, site_context: Context) -> HttpResponse:
    pending = second_factor.pending_factor(user)
    if pending is None:
        messages.warning(request, "That took too long, or it is on already. Begin again if it is not.")
        return redirect("admin:aegis_two_factor")
    form = FirstCodeForm(request.POST)
    if form.is_valid():
        codes = second_factor.confirm(
            factor=pending,
            code=form.cleaned_data["code"],
            session_key=request.session.session_key,
            now=timezone.now(),
        )
        if codes is not None:
            request.session.cycle_key()
            note_passed(request.session, True)
            return _codes(request, site_context, codes, "Two-factor sign-in is on.")
        form.add_error("code", "This is not the code of now. Are the clocks of that device and of Aegis right?")
    return _two_factor(request, user, site_context, first_code_form=form)


def _renew(request: HttpRequest, user: User, site_context: Context) -> HttpResponse:
    def renewed(factor: SecondFactor) -> HttpResponse:
        codes = second_factor.renew_recovery_codes(factor=factor)
        return _codes(request, site_context, codes, "The recovery codes from before are worth nothing now.")

    return _with_proof(request, user, site_context, "renew", renewed)


def _turn_off(request: HttpRequest, user: User, site_context: Context) -> HttpResponse:
    def off(factor: SecondFactor) -> HttpResponse:
        second_factor.turn_off(factor=factor, session_key=request.session.session_key)
        note_passed(request.session, False)
        messages.success(request, "Two-factor sign-in is off. Your other sessions have ended.")
        return redirect("admin:aegis_two_factor")

    return _with_proof(request, user, site_context, "off", off)


_ACTIONS: dict[str, Callable[[HttpRequest, User, Context], HttpResponse]] = {
    "begin": _begin,
    "confirm": _confirm,
    "renew": _renew,
    "off": _turn_off,
}


def _with_proof(
    request: HttpRequest, user: User, site_context: Context, name: str, then: Callable[[SecondFactor], HttpResponse]
) -> HttpResponse:
    factor = second_factor.confirmed_factor(user)
    if factor is None:
        return redirect("admin:aegis_two_factor")
    if not may_try(request, user):
        return HttpResponse(status=429)
    form = ProofForm(request.POST, auto_id=f"{name}_%s")
    if form.is_valid():
        # The code is looked at second: a wrong password must not use it up.
        if not user.check_password(form.cleaned_data["password"]):
            count_failure(request, user, SIGN_IN_FAILED)
            form.add_error("password", "This is not your password.")
        else:
            try:
                proved(request, factor, form.cleaned_data["code"])
            except ValidationError as error:
                form.add_error("code", error)
            else:
                return then(factor)
    return _two_factor(request, user, site_context, **{f"{name}_form": form})


def _codes(request: HttpRequest, site_context: Context, codes: list[str], said: str) -> HttpResponse:
    context = {**site_context, "title": "Recovery codes", "codes": codes, "said": said}
    return _unstored(TemplateResponse(request, "access/recovery_codes.html", context))


def _picture_of(factor: SecondFactor) -> SafeString:
    """The QR code as SVG, dark on light whatever the theme: cameras read nothing else well."""
    code = segno.make(second_factor.provisioning_uri(factor), micro=False)
    return mark_safe(code.svg_inline(scale=4, dark="#000", light="#fff", title="QR code of the secret"))  # noqa: S308


def _in_groups(secret: str) -> str:
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def sessions_page(request: HttpRequest, site_context: Context) -> HttpResponse:
    """The user's own sessions. A POST ends one, or all others."""
    user = cast("User", request.user)
    mine = live_sessions(now=timezone.now()).filter(user=user)
    if request.method == "POST":
        if "others" in request.POST:
            count = end_sessions(of=user, by=user, but=request.session.session_key)
            messages.success(request, f"Ended: {count}." if count else "There was no other session.")
        else:
            _end_one(request, mine)
        return redirect("admin:aegis_sessions")
    return _sessions(request, site_context, mine, title="Your sessions", is_own=True)


def all_sessions_page(request: HttpRequest, site_context: Context) -> HttpResponse:
    """Everybody's sessions, for who may see users."""
    if not request.user.has_perm(VIEW_USERS):
        raise PermissionDenied
    everybodys = live_sessions(now=timezone.now())
    if request.method == "POST":
        if not request.user.has_perm(CHANGE_USERS):
            raise PermissionDenied
        _end_one(request, everybodys)
        return redirect("admin:aegis_all_sessions")
    return _sessions(request, site_context, everybodys, title="Sessions", is_own=False)


def _sessions(request: HttpRequest, site_context: Context, sessions: Any, **context: Any) -> HttpResponse:
    page = Paginator(sessions, SESSIONS_PER_PAGE).get_page(request.GET.get("p"))
    may_end = context["is_own"] or request.user.has_perm(CHANGE_USERS)
    rows = [
        {
            "session": session,
            "is_this": session.pk == request.session.session_key,
            "may_end": may_end and may_touch(request, session.user),
        }
        for session in page
    ]
    return TemplateResponse(request, "access/sessions.html", {**site_context, **context, "rows": rows, "page": page})


def _end_one(request: HttpRequest, among: Any) -> None:
    session: Session | None = among.filter(public_id=_uuid(request.POST.get("end", ""))).first()
    if session is None:
        messages.info(request, "That session had ended already.")
        return
    if not may_touch(request, session.user):
        raise PermissionDenied
    end_session(session=session, by=request.user)
    messages.success(request, f"The session of {session.user} on {session.browser} has ended.")


def locks_page(request: HttpRequest, site_context: Context) -> HttpResponse:
    """Sign-ins that are locked now. A POST unlocks one."""
    if not request.user.has_perm(VIEW_USERS):
        raise PermissionDenied
    if request.method == "POST":
        if not request.user.has_perm(CHANGE_USERS):
            raise PermissionDenied
        _unlock(request)
        return redirect("admin:aegis_sign_in_locks")
    now = timezone.now()
    context = {
        **site_context,
        "title": "Locked sign-ins",
        "locks": current_locks(now=now),
        "factors": refused_factors(now=now),
        "may_unlock": request.user.has_perm(CHANGE_USERS),
    }
    return TemplateResponse(request, "access/locks.html", context)


def _unlock(request: HttpRequest) -> None:
    factor_id = request.POST.get("factor")
    if factor_id is not None:
        factor = refused_factors(now=timezone.now()).filter(pk=_uuid(factor_id)).first()
        if factor is not None:
            second_factor.lift_refusal(factor=factor, by=request.user)
        done = factor is not None
    else:
        done = unlock(name=storable(request.POST.get("name", "")), address=_address(request), by=request.user)
    if done:
        messages.success(request, "Unlocked.")
    else:
        messages.info(request, "That was not locked any more.")


def _address(request: HttpRequest) -> str:
    address = request.POST.get("address", "")
    try:
        validate_ipv46_address(address)
    except ValidationError as error:
        raise BadRequest("no such address") from error
    return address


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise BadRequest("no such id") from error


def _unstored(response: TemplateResponse) -> TemplateResponse:
    response["Cache-Control"] = "no-store"
    return response
