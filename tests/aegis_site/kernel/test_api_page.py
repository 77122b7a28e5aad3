"""The API as pages."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.test import Client

from tests.hosts.examples import LEAF, make_host, mtls

pytestmark = pytest.mark.django_db

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def page_of(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path, headers=HTML)
    assert (response.status_code, response["Content-Type"]) == (status, "text/html; charset=utf-8")
    return response.content.decode()


def test_a_host_as_a_page(admin_client: Client) -> None:
    """In the admin's look, with the representation, its ETag for the script, and a button for each method."""
    url = f"/api/v1/hosts/{make_host(upstream_tls=mtls()).pk}"
    page = page_of(admin_client, url)
    assert "unfold/css/styles.css" in page
    assert "&quot;name&quot;: &quot;orders&quot;" in page
    assert f'data-etag="{admin_client.get(url)["ETag"].replace(chr(34), "&quot;")}"' in page
    assert re.findall('value="(P[A-Z]+|DELETE)"', page) == ["PUT", "PATCH", "DELETE"]
    assert LEAF.key_pem.splitlines()[1] not in page


def test_a_page_asks_nobody_else(admin_client: Client) -> None:
    """Its scripts and styles are files of this server."""
    page = page_of(admin_client, "/api/v1/hosts")
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert {name for name in re.findall(r'/static/(aegis_site/[^"]+)"', page) if finders.find(name)} == {
        "aegis_site/admin.css",
        "aegis_site/api.css",
        "aegis_site/api_page.js",
    }


def test_what_is_stored_is_not_run(admin_client: Client) -> None:
    """A name that is markup stays text."""
    make_host("<script>alert(1)</script>", domains=("x.example",))
    assert "<script>alert" not in page_of(admin_client, "/api/v1/hosts")


def test_errors_are_pages_too(admin_client: Client, client: Client) -> None:
    """With the problem and nothing to send; who is not signed in is led to the sign-in."""
    page = page_of(admin_client, "/api/v1/hosts?nmae=x", 400)
    assert "unknown_parameter" in page
    assert "data-api-form" not in page
    assert "/admin/login/?next=%2Fapi%2Fv1%2Fhosts" in page_of(Client(), "/api/v1/hosts", 401)


def test_pages_show_what_the_user_may_see(client: Client) -> None:
    """The menu is the user's, and so is the page."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_host"))
    client.force_login(user)
    page = page_of(client, "/api/v1/hosts")
    assert "/admin/auth/user/" not in page
    assert "permission_denied" in page_of(client, "/api/v1/workers", 403)


def test_programs_get_json(admin_client: Client) -> None:
    """Whoever accepts anything is no browser."""
    assert admin_client.get("/api/v1/hosts")["Content-Type"] == "application/json"
    assert admin_client.get("/api/v1/hosts", headers={"Accept": "*/*"})["Content-Type"] == "application/json"
