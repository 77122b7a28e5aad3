"""Keeps pages of the admin from sessions that are not through the second factor, and notes who was seen.

Laws of this module: whoever has to set up a second factor reaches the page for it, the help of that page, and the way
out. The API has its own answer for such sessions: `access.authentication`.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from aegis_site.access.session_list import note_seen
from aegis_site.access.standing import has_passed, standing_of

_ADMIN = "admin"
SET_UP_PAGE = "admin:aegis_two_factor"
_OPEN = {SET_UP_PAGE, "admin:login", "admin:logout", "admin:aegis_sign_in_code", "admin:jsi18n"}


class SecondFactorMiddleware:
    """To stand after authentication and messages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        note_seen(request)
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """None lets the request through."""
        page = request.resolver_match
        if page is None or page.app_name != _ADMIN or not request.user.is_authenticated or has_passed(request.session):
            return None
        standing = standing_of(request.user)
        if standing.has_factor:
            logout(request)
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        if standing.is_demanded and page.view_name not in _OPEN:
            return redirect(SET_UP_PAGE)
        return None
