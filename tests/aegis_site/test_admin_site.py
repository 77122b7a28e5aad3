"""The admin as a whole: its pages render, and show to each user what that user may see."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from localca.services import ensure_authority
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db

CANARY = "canary-8f2e"


@pytest.fixture
def staff(client: Client) -> Client:
    """Signed in, with no permission at all."""
    client.force_login(User.objects.create_user("staff", is_staff=True))
    return client


@pytest.mark.parametrize(
    "page",
    ["index", "aegis_settings", "auth_user_changelist", "auth_user_add", "auth_group_changelist", "password_change"],
)
def test_pages_render(admin_client: Client, page: str) -> None:
    """Every page of the site itself renders for an administrator, in the product's look."""
    response = admin_client.get(reverse(f"admin:{page}"))
    assert response.status_code == 200
    assert "unfold/css/styles.css" in response.content.decode()
    assert "Aegis" in response.content.decode()
    assert 'href="/static/aegis_site/admin.css"' in response.content.decode()
    assert finders.find("aegis_site/admin.css")


def test_the_root_leads_to_the_admin(client: Client) -> None:
    """`/` leads to the admin, and that to the sign-in form."""
    response = client.get("/", follow=True)
    assert [path for path, _ in response.redirect_chain] == ["/admin/", "/admin/login/?next=/admin/"]
    assert 'name="password"' in response.content.decode()


@pytest.mark.parametrize("query", ["", "?next=/admin/settings/"])
def test_signing_in(client: Client, query: str) -> None:
    """After the form a user is where it wanted to go, and by default at the admin's index."""
    User.objects.create_user("staff", password="correct horse", is_staff=True)
    response = client.post(f"/admin/login/{query}", {"username": "staff", "password": "correct horse"})
    assert response["Location"] == (query.partition("=")[2] or "/admin/")


def test_settings_without_a_ca(admin_client: Client) -> None:
    """Before the first run the page says how the CA comes to be."""
    page = admin_client.get(reverse("admin:aegis_settings")).content.decode()
    assert "There is no local CA yet" in page
    assert "0 stored secrets" in page


def test_settings_with_a_ca(admin_client: Client) -> None:
    """The page shows the CA's facts, both downloads, the listeners and where the data are."""
    facts = ensure_authority().facts
    page = admin_client.get(reverse("admin:aegis_settings")).content.decode()
    for shown in (
        facts.subject,
        facts.fingerprint_sha256,
        reverse("admin:localca_trust_bundle"),
        reverse("admin:localca_ca_certificate"),
        "1 stored secret,",
        "0.0.0.0:8443",
        "AEGIS_PROXY_METRICS",
        "Mode: embedded",
    ):
        assert shown in page


def test_settings_of_a_user_without_permission(staff: Client) -> None:
    """Who may not see the CA gets neither its facts nor downloads that would be refused."""
    facts = ensure_authority().facts
    page = staff.get(reverse("admin:aegis_settings")).content.decode()
    assert facts.fingerprint_sha256 not in page
    assert reverse("admin:localca_trust_bundle") not in page


def test_settings_show_no_secret(admin_client: Client, settings: Any) -> None:
    """Neither keys nor URLs with passwords are on the page; that old keys remain is."""
    settings.AEGIS_SSL_KEY_PREVIOUS = (CANARY * 4,)
    settings.AEGIS_REDIS_URL = f"redis://:{CANARY}@redis:6379"
    page = admin_client.get(reverse("admin:aegis_settings")).content.decode()
    assert CANARY not in page
    assert settings.AEGIS_SSL_KEY not in page
    assert "manage.py rotate_ssl_key" in page


def test_settings_need_a_sign_in(client: Client) -> None:
    """Nobody else sees the page."""
    response = client.get(reverse("admin:aegis_settings"))
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def _titles(client: Client) -> list[str]:
    context = client.get(reverse("admin:aegis_settings")).context
    return [
        item["title"] for group in context["sidebar_navigation"] for item in group["items"] if item["has_permission"]
    ]


def test_navigation_of_an_administrator(admin_client: Client) -> None:
    """An administrator sees everything, and every link leads to a page."""
    assert _titles(admin_client) == [
        "Dashboard",
        "Hosts",
        "Posture",
        "Expiry",
        "What if",
        "Failures",
        "Logs",
        "Workers",
        "Local CA",
        "Issued certificates",
        "Channels",
        "Messages",
        "Maintenance",
        "Events",
        "Settings",
        "API tokens",
        "Users",
        "Sessions",
        "Locked sign-ins",
        "Groups",
        "Audit",
        "API",
    ]
    context = admin_client.get(reverse("admin:aegis_settings")).context
    for group in context["sidebar_navigation"]:
        for item in group["items"]:
            assert admin_client.get(str(item["link"])).status_code == 200, item["title"]


def test_one_item_of_the_navigation_is_active(admin_client: Client) -> None:
    """Also on the pages over all hosts, whose paths are below that of the list."""
    titles = {
        "index": "Dashboard",
        "hosts_posture": "Posture",
        "hosts_expiry": "Expiry",
        "hosts_what_if": "What if",
        "hosts_logs": "Logs",
    }
    for name in ("hosts_host_changelist", "hosts_host_add", *titles):
        groups = admin_client.get(reverse(f"admin:{name}")).context["sidebar_navigation"]
        active = [item["title"] for group in groups for item in group["items"] if item["active"]]
        assert active == [titles.get(name, "Hosts")]


def test_navigation_shows_what_may_be_seen(staff: Client) -> None:
    """Each permission shows its page; without any there are the dashboard, the settings and the API only."""
    assert _titles(staff) == ["Dashboard", "Settings", "API"]
    user = User.objects.get(username="staff")
    user.user_permissions.add(Permission.objects.get(codename="view_issuedcertificate"))
    assert _titles(staff) == ["Dashboard", "Issued certificates", "Settings", "API"]


@pytest.mark.parametrize(
    ("role", "missing"),
    [
        ("viewer", {"What if", "Logs", "Channels", "Messages", "Users", "Sessions", "Locked sign-ins", "Groups"}),
        ("operator", {"Channels", "Messages", "Users", "Sessions", "Locked sign-ins", "Groups"}),
        ("administrator", set()),
    ],
)
def test_navigation_of_the_roles(client: Client, role: str, missing: set[str]) -> None:
    """What a role may not do is not offered, and all that is offered opens."""
    client.force_login(user_of(role))
    context = client.get(reverse("admin:aegis_settings")).context
    items = [item for group in context["sidebar_navigation"] for item in group["items"]]
    assert {item["title"] for item in items if not item["has_permission"]} == missing
    statuses = {item["title"]: client.get(str(item["link"])).status_code for item in items if item["has_permission"]}
    assert set(statuses.values()) == {200}, statuses


def test_knoxs_page_is_gone(admin_client: Client) -> None:
    """knox's own page of tokens is not there: it would put a new token into a cookie."""
    assert admin_client.get("/admin/knox/authtoken/").status_code == 404


def test_who_has_no_role_is_told_so(staff: Client) -> None:
    """Instead of an empty first page: why there is nothing, and whom to ask. With a permission it is the usual one."""
    page = staff.get(reverse("admin:index")).content.decode()
    assert "You have no role yet" in page
    User.objects.get(username="staff").user_permissions.add(Permission.objects.get(codename="view_host"))
    page = staff.get(reverse("admin:index")).content.decode()
    assert "You have no role yet" not in page
