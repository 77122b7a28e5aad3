"""How the OpenAPI document names the ways to authenticate. Registers on import."""

from typing import Any

from drf_spectacular.authentication import SessionScheme as DrfSessionScheme
from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme


class TokenScheme(KnoxTokenScheme):
    """`Authorization: Token …`."""

    target_class: Any = "aegis_site.access.authentication.TokenAuthentication"
    name = "token"


class SessionScheme(DrfSessionScheme):
    """The cookie of a session of the admin."""

    target_class: Any = "aegis_site.access.authentication.SessionAuthentication"
