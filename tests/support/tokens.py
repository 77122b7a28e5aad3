"""API tokens of users."""

from typing import Any

from django.contrib.auth.models import User

from aegis_site.access.models import ApiToken, Scope
from aegis_site.access.services import create_token


def token_of(user: Any, scope: Scope = Scope.WRITE, *, name: str = "test", lifetime_days: int = 1) -> ApiToken:
    """A new token; its `secret` is what a client sends."""
    assert isinstance(user, User)
    return create_token(user=user, name=name, scope=scope, lifetime_days=lifetime_days, created_by=None)


def bearer(token: ApiToken) -> dict[str, str]:
    """The header fields of a client with this token."""
    return {"Authorization": f"Token {token.secret}"}
