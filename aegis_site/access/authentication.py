"""Who an API token acts for, and which sessions count in the API.

Laws of this module:
- A session that is not through the second factor is none. A token is for a script, which has no second factor.
- Whatever is wrong with a token, the answer is the same.
- A token of scope read is refused here for every method that is not safe, so no view can forget it.
- No view is imported: DRF loads this module while it loads those.
- Failures are counted by address and slowed down; a valid token always works, so nobody can lock others out.
"""

import re
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from knox import auth
from knox.crypto import hash_token
from knox.settings import CONSTANTS
from rest_framework import authentication, exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from aegis_site.access.models import ApiToken, Scope
from aegis_site.access.services import note_use
from aegis_site.access.standing import has_passed, standing_of
from aegis_site.kernel.client_address import client_address
from aegis_site.kernel.throttling import count

# With the prefix since tokens have scopes; those made before have none.
_IS_TOKEN = re.compile(rb"(?:aegis_)?[0-9a-f]{64}")


class TokenAuthentication(auth.TokenAuthentication):
    """knox's, with scopes, and with no database query for what cannot be a token."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        try:
            result: tuple[Any, ApiToken] | None = super().authenticate(request)
        except exceptions.AuthenticationFailed:
            self._count_failure(request)
            raise
        if result is not None:
            _check_scope(result[1], request)
        return result

    def authenticate_credentials(self, token: bytes) -> tuple[Any, ApiToken]:
        if _IS_TOKEN.fullmatch(token):
            text = token.decode()
            digest = hash_token(text)
            key = text[: CONSTANTS.TOKEN_KEY_LENGTH]
            for stored in ApiToken.objects.filter(token_key=key).select_related("user"):
                if constant_time_compare(digest, stored.digest) and _is_good(stored):
                    note_use(stored)
                    return stored.user, stored
        raise exceptions.AuthenticationFailed("Invalid token.")

    def _count_failure(self, request: Request) -> None:
        address = client_address(request) or ""
        wait_s = count("token-failures", address, limit=settings.AEGIS_TOKEN_FAILURES_PER_MINUTE)
        if wait_s is not None:
            raise exceptions.Throttled(wait_s)


class SessionAuthentication(authentication.SessionAuthentication):
    """DRF's, for sessions that the admin would let in as well."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        result: tuple[Any, None] | None = super().authenticate(request)
        if result is None or has_passed(request.session):
            return result
        standing = standing_of(result[0])
        if standing.has_factor:
            return None
        if standing.is_demanded:
            message = "Set up two-factor sign-in in the admin first: an administrator demands it."
            raise exceptions.PermissionDenied(message, code="second_factor_needed")
        return result


def _is_good(token: ApiToken) -> bool:
    return token.user.is_active and token.expiry > timezone.now()


def _check_scope(token: ApiToken, request: Request) -> None:
    if token.scope != Scope.WRITE and request.method not in SAFE_METHODS:
        raise exceptions.PermissionDenied("This token may only read.", code="token_read_only")
