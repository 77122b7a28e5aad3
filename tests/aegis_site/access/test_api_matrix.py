"""Who may do what below /api/v1: every route, every method, everybody.

A route or method without a line in `EXPECTED` fails the first test; a line without a route is for one that may come.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.admindocs.views import simplify_regex
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, resolve
from django.urls.exceptions import Resolver404

from aegis_site import api_urls
from aegis_site.access.models import Scope
from localca.services import ensure_authority
from tests.support.roles import ROLES, user_of
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.django_db

ANONYMOUS, NO_ROLE, VIEWER, OPERATOR, ADMINISTRATOR = "anonymous", "no role", "viewer", "operator", "administrator"
READ_TOKEN = "read token of an administrator"
PEOPLE = (ANONYMOUS, NO_ROLE, VIEWER, OPERATOR, ADMINISTRATOR, READ_TOKEN)

PUBLIC = frozenset(PEOPLE)
SIGNED_IN = PUBLIC - {ANONYMOUS}
VIEW = SIGNED_IN - {NO_ROLE}
OPERATE = frozenset({OPERATOR, ADMINISTRATOR})
ADMINISTER = frozenset({ADMINISTRATOR})
READ_GUARDED = ADMINISTER | {READ_TOKEN}

# HEAD is where GET is, and OPTIONS everywhere, for whom may view.
EXPECTED: dict[str, dict[str, frozenset[str]]] = {
    "": {"GET": SIGNED_IN},
    "schema": {"GET": SIGNED_IN},
    "docs": {"GET": SIGNED_IN},
    "hosts": {"GET": VIEW, "POST": OPERATE},
    "hosts/{}": {"GET": VIEW, "PUT": OPERATE, "PATCH": OPERATE, "DELETE": OPERATE},
    "hosts/{}/clone": {"POST": OPERATE},
    "hosts/{}/test-upstream-tls": {"POST": OPERATE},
    "hosts/{}/upstream-setup": {"GET": VIEW},
    "hosts/{}/prove-enforcement": {"POST": OPERATE},
    "hosts/{}/issue-certificate": {"POST": ADMINISTER},
    "hosts/{}/certificate-requests": {"GET": VIEW, "POST": OPERATE},
    "hosts/{}/certificate-requests/{}": {"GET": VIEW, "DELETE": OPERATE},
    "hosts/{}/certificate-requests/{}/certificate": {"POST": OPERATE},
    "hosts/{}/posture": {"GET": VIEW},
    "hosts/{}/revert": {"POST": OPERATE},
    "hosts/{}/rotations": {"GET": VIEW, "POST": OPERATE},
    "rotations/{}": {"GET": VIEW},
    "rotations/{}/confirm": {"POST": OPERATE},
    "rotations/{}/probe": {"POST": OPERATE},
    "rotations/{}/promote": {"POST": OPERATE},
    "rotations/{}/cancel": {"POST": OPERATE},
    "hosts/{}/traffic": {"GET": VIEW},
    "traffic": {"GET": VIEW},
    "hosts/{}/health": {"GET": VIEW},
    "hosts/{}/health/history": {"GET": VIEW},
    "hosts/import": {"POST": OPERATE},
    "hosts/export": {"GET": VIEW, "POST": ADMINISTER},
    "posture": {"GET": VIEW},
    "expiry": {"GET": VIEW},
    "expiry/metrics": {"GET": VIEW},
    "what-if": {"POST": OPERATE},
    "hosts/{}/logs": {"GET": OPERATE | {READ_TOKEN}},
    "logs": {"GET": OPERATE | {READ_TOKEN}},
    "logs/{}": {"GET": OPERATE | {READ_TOKEN}},
    "workers": {"GET": VIEW},
    "certificates": {"GET": VIEW, "POST": ADMINISTER},
    "certificates/{}": {"GET": VIEW, "DELETE": ADMINISTER},
    "certificates/{}/revoke": {"POST": ADMINISTER},
    "certificates/{}/renew": {"POST": ADMINISTER},
    "ca": {"GET": VIEW},
    "ca/trust-bundle": {"GET": VIEW},
    "ca/aegis-local-ca.crt": {"GET": PUBLIC},
    "ca/crl": {"GET": PUBLIC},
    "ca/intermediate": {"POST": ADMINISTER},
    "ca/root": {"POST": ADMINISTER},
    "ca/import": {"POST": ADMINISTER},
    "ca/authorities/{}": {"GET": VIEW, "PATCH": ADMINISTER},
    "ca/authorities/{}/crl": {"GET": PUBLIC},
    "ca/authorities/{}/readiness": {"GET": VIEW},
    "ca/authorities/{}/export-key": {"POST": ADMINISTER},
    "ca/authorities/{}/remove-key": {"POST": ADMINISTER},
    "ca/authorities/{}/restore-key": {"POST": ADMINISTER},
    "ca/authorities/{}/give-crl": {"POST": ADMINISTER},
    "ca/authorities/{}/retire": {"POST": ADMINISTER},
    "ca/authorities/{}/revoke": {"POST": ADMINISTER},
    "settings": {"GET": VIEW, "PATCH": ADMINISTER},
    "settings/test-email": {"POST": ADMINISTER},
    "notification-channels": {"GET": READ_GUARDED, "POST": ADMINISTER},
    "notification-channels/{}": {"GET": READ_GUARDED, "PATCH": ADMINISTER, "DELETE": ADMINISTER},
    "notification-channels/{}/test": {"POST": ADMINISTER},
    "notification-deliveries": {"GET": READ_GUARDED},
    "notification-deliveries/{}": {"GET": READ_GUARDED},
    "notification-deliveries/{}/retry": {"POST": ADMINISTER},
    "maintenance-windows": {"GET": VIEW, "POST": OPERATE},
    "maintenance-windows/{}": {"GET": VIEW, "PATCH": OPERATE, "DELETE": OPERATE},
    "audit": {"GET": VIEW},
    "audit/{}": {"GET": VIEW},
    "audit/{}/revert": {"POST": OPERATE},
    "failures": {"GET": VIEW},
    "failures/{}": {"GET": VIEW},
    "failures/{}/acknowledge": {"POST": OPERATE},
    "failures/{}/resolve": {"POST": OPERATE},
    "failures/{}/mute": {"POST": OPERATE},
    "failures/{}/unmute": {"POST": OPERATE},
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
IDENTIFIERS = ("00000000-0000-4000-8000-000000000000", "1", "00ff")


@dataclass(frozen=True)
class Route:
    """`path` as in EXPECTED, and the methods that its views have."""

    path: str
    methods: frozenset[str]

    @property
    def url(self) -> str:
        """A path that leads to it, with an identifier of nothing."""
        for identifier in IDENTIFIERS:
            url = f"/api/v1/{self.path.replace('{}', identifier)}"
            try:
                found = resolve(url)
            except Resolver404:
                continue
            if getattr(found.func, "cls", None) is not api_urls.UnknownPathView:
                return url
        raise AssertionError(f"no identifier fits {self.path}")


def patterns_in(entries: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in entries:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns_in(entry.url_patterns, path)
        elif isinstance(entry, URLPattern) and path != "^.":
            yield path, entry.callback


def methods_of(view: Any) -> set[str]:
    """Of a view set the methods that are routed, of another view those that it has a handler for."""
    handlers = getattr(view, "actions", None) or [
        name for name in view.cls.http_method_names if hasattr(view.cls, name)
    ]
    return {name.upper() for name in handlers} & set(METHODS)


def all_routes() -> list[Route]:
    methods: dict[str, set[str]] = {}
    for pattern, view in patterns_in(api_urls.urlpatterns):
        path = "/".join(
            "{}" if part.startswith("<") else part for part in simplify_regex(pattern).strip("/").split("/")
        )
        methods.setdefault(path.replace("\\", ""), set()).update(methods_of(view))
    return [Route(path, frozenset(found)) for path, found in methods.items()]


ROUTES = all_routes()


def test_every_route_and_method_is_in_the_table() -> None:
    """Whoever adds one says who may use it."""
    found = {route.path: route.methods for route in ROUTES}
    assert found == {path: frozenset(EXPECTED.get(path, {})) for path in found}
    assert len(found) >= 10


@pytest.fixture
def send(client: Client) -> Any:
    """Sends a request as one of the people."""
    ensure_authority()
    users = {NO_ROLE: User.objects.create_user("nobody", is_staff=True)}
    users |= {role: user_of(role) for role in ROLES}
    tokens = {name: bearer(token_of(user)) for name, user in users.items()}
    tokens |= {ANONYMOUS: {}, READ_TOKEN: bearer(token_of(users[ADMINISTRATOR], Scope.READ))}

    def send(person: str, method: str, url: str) -> int:
        content = b"" if method in ("GET", "HEAD", "OPTIONS", "DELETE") else b"{}"
        status: int = client.generic(method, url, content, "application/json", headers=tokens[person]).status_code
        return status

    return send


def allowed(route: Route, method: str) -> frozenset[str]:
    expected = EXPECTED[route.path]
    if method == "OPTIONS":
        return expected.get("GET", READ_GUARDED if route.path.startswith("notification-") else VIEW)
    return expected["GET" if method == "HEAD" else method]


@pytest.mark.parametrize("person", PEOPLE)
def test_everybody_may_do_what_the_table_says(send: Any, person: str) -> None:
    """Denied is 401 for strangers and 403 for others; allowed is neither, and never a failure."""
    wrong = []
    for route in ROUTES:
        methods = [*route.methods, "OPTIONS", *(["HEAD"] if "GET" in route.methods else [])]
        for method in methods:
            status = send(person, method, route.url)
            if person in allowed(route, method):
                is_right = status not in (401, 403) and status < 500
            else:
                is_right = status == (401 if person == ANONYMOUS else 403)
            if not is_right:
                wrong.append((method, route.path, status))
    assert wrong == []


@pytest.mark.parametrize("person", PEOPLE)
def test_nobody_may_do_what_no_view_has(send: Any, person: str) -> None:
    """A method that is in no table never succeeds."""
    statuses = {
        send(person, method, route.url) for route in ROUTES for method in METHODS if method not in route.methods
    }
    assert statuses <= {401, 403, 404, 405, 415}


def test_sessions_and_tokens_give_the_same_rights(send: Any, client: Client) -> None:
    """The admin's session may do in the API what a write token may."""
    for person in (NO_ROLE, VIEWER, OPERATOR, ADMINISTRATOR):
        browser = Client()
        browser.force_login(User.objects.get(username="nobody" if person == NO_ROLE else person))
        for route in ROUTES:
            for method in route.methods:
                content = b"" if method in ("GET", "DELETE") else b"{}"
                status = browser.generic(method, route.url, content, "application/json").status_code
                assert (status == 403) == (person not in allowed(route, method)), (person, method, route.path)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_public(client: Client, path: str) -> None:
    """Load balancers have no credentials."""
    assert client.get(path).status_code in {200, 503}
