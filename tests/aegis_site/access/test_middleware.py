"""Who must have a second factor, and what is left to whoever has none."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from aegis_site.access.models import Scope
from aegis_site.access.services import create_token
from aegis_site.kernel.site_settings.services import change_settings
from tests.support.roles import ROLES, user_of
from tests.support.second_factors import code_at

pytestmark = pytest.mark.django_db

PAGE = "/admin/two-factor/"


def demand(of: str) -> None:
    change_settings(values={"second_factor_for": of}, user=None)


@pytest.mark.parametrize(
    ("of", "held_up"),
    [
        ("nobody", set()),
        ("administrators", {"administrator", "root"}),
        ("operators", {"operator", "administrator", "root"}),
        ("everyone", {"nobody", "viewer", "operator", "administrator", "root"}),
    ],
)
def test_whom_it_is_demanded_of(of: str, held_up: set[str]) -> None:
    """By role, or of all; in the admin and for sessions in the API."""
    users = [*(user_of(role) for role in ROLES), User.objects.create_superuser("root")]
    users.append(User.objects.create_user("nobody", is_staff=True))
    demand(of)
    for user in users:
        client = Client()
        client.force_login(user)
        page, api = client.get("/admin/settings/"), client.get("/api/v1")
        assert page.status_code == (302 if user.username in held_up else 200), user
        assert api.status_code == (403 if user.username in held_up else 200), user
        if user.username in held_up:
            assert page["Location"] == PAGE
            assert api.json()["errors"][0]["code"] == "second_factor_needed"


def test_nothing_but_setting_it_up(client: Client) -> None:
    """The page says who wants it and has no other links; after it everything opens. A token goes on working."""
    user = user_of("viewer")
    demand("everyone")
    client.force_login(user)
    for path in ("/admin/", "/admin/hosts/host/", "/admin/password_change/", "/admin/sessions/", "/admin/auth/user/"):
        assert client.get(path)["Location"] == PAGE, path
        assert client.post(path)["Location"] == PAGE, path
    page = client.get(PAGE).content.decode()
    assert "An administrator demands two-factor sign-in of you." in page
    assert "/admin/hosts/host/" not in page
    client.post(PAGE, {"action": "begin"})
    code = code_at(user.second_factor, timezone.now())  # type: ignore[attr-defined]
    assert client.post(PAGE, {"action": "confirm", "code": code}).status_code == 200
    assert client.get("/admin/").status_code == 200
    assert client.get("/api/v1/hosts").status_code == 200
    operator = user_of("operator")
    token = create_token(user=operator, name="x", scope=Scope.READ, lifetime_days=1, created_by=None)
    assert Client().get("/api/v1/hosts", headers={"Authorization": f"Token {token.secret}"}).status_code == 200


def test_the_way_out_is_open(client: Client) -> None:
    """Whoever has no phone at hand signs out."""
    demand("everyone")
    client.force_login(user_of("viewer"))
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/admin/")["Location"].startswith("/admin/login/")
