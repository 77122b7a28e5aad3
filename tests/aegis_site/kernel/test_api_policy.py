"""Who may use the API, how much may be sent, and how lists are cut; on the routes of the product."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from rest_framework.test import APIClient

from localca.services import ensure_authority
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return User.objects.create_user("someone", password="correct horse")


def grant(user: User, *codenames: str) -> None:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def test_anonymous_users_are_challenged(client: Client) -> None:
    """Without credentials: 401 as a problem document, with the scheme that is wanted."""
    response = client.get("/api/v1/hosts")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Token"
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["code"] == "not_authenticated"


def test_reading_needs_the_permission_to_view(client: Client, user: User) -> None:
    """A user without permissions reads nothing; with `view` it does."""
    client.force_login(user)
    assert client.get("/api/v1/hosts").status_code == 403
    grant(user, "view_host")
    assert client.get("/api/v1/hosts").status_code == 200
    assert client.get("/api/v1/ca").status_code == 403


def test_tokens(client: Client, user: User) -> None:
    """A token acts for its user; a wrong or revoked one is refused."""
    grant(user, "view_host")
    token = token_of(user)
    assert client.get("/api/v1/hosts", headers=bearer(token)).status_code == 200
    assert client.get("/api/v1/hosts", headers={"Authorization": f"Token {token.secret}x"}).status_code == 401
    token.delete()
    response = client.get("/api/v1/hosts", headers=bearer(token))
    assert (response.status_code, response.json()["errors"][0]["code"]) == (401, "authentication_failed")


def test_a_session_needs_the_csrf_token(user: User) -> None:
    """Another site cannot write with the browser's session; a token needs no CSRF."""
    grant(user, "view_host", "add_host")
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(user)
    response = browser.post("/api/v1/hosts", {}, format="json")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (403, "permission_denied")
    script = APIClient(enforce_csrf_checks=True, HTTP_AUTHORIZATION=f"Token {token_of(user).secret}")
    assert script.post("/api/v1/hosts", {}, format="json").status_code == 400


def test_browsers_get_a_page(admin_client: Client) -> None:
    """In a browser the API is browsable, errors included."""
    for path, status in (("/api/v1/hosts", 200), ("/api/v1/hosts/00000000-0000-0000-0000-000000000000", 404)):
        response = admin_client.get(path, headers={"Accept": "text/html"})
        assert (response.status_code, response["Content-Type"]) == (status, "text/html; charset=utf-8")


def post(client: Client, body: bytes, content_type: str = "application/json") -> Any:
    return client.post("/api/v1/hosts", body, content_type=content_type)


@pytest.mark.parametrize("credentials", ["session", "token"])
def test_a_body_over_the_limit(admin_client: Client, admin_user: User, settings: Any, credentials: str) -> None:
    """A body of one byte more than the limit is refused with 413; of exactly the limit it is read."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 64
    if credentials == "token":
        admin_client.logout()
        admin_client.defaults["HTTP_AUTHORIZATION"] = f"Token {token_of(admin_user).secret}"
    fitting = json.dumps({"name": "x" * 52}).encode()
    assert len(fitting) == 64
    assert post(admin_client, fitting).status_code == 400
    response = post(admin_client, fitting + b" ")
    assert (response.status_code, response["Content-Type"]) == (413, "application/problem+json")
    assert response.json()["errors"] == [
        {"field": "", "code": "body_too_large", "message": "The request body is too large."}
    ]


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": NaN}', b'{"port": ' + b"1" * 5000 + b"}"],
    ids=["cut", "not UTF-8", "deep", "NaN", "long number"],
)
def test_bodies_that_are_not_json(admin_client: Client, body: bytes) -> None:
    """Whatever cannot be parsed is a 400 with code parse_error, never a failure of the server."""
    response = post(admin_client, body)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "parse_error")


@pytest.mark.parametrize("item", [b"{},", b"[],", b"1,"])
def test_bodies_of_too_many_values(admin_client: Client, item: bytes) -> None:
    """413 before anything is built: twenty such bodies at once took six gigabytes."""
    response = post(admin_client, b"[" + item * 110_000 + b"1]")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (413, "body_too_large")


def test_bodies_of_another_type(admin_client: Client) -> None:
    """Forms are not accepted."""
    response = post(admin_client, b"name=x", "application/x-www-form-urlencoded")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (415, "unsupported_media_type")


def test_unacceptable_answers(admin_client: Client) -> None:
    """A client that takes neither JSON nor HTML is told so, in JSON."""
    response = admin_client.get("/api/v1/hosts", headers={"Accept": "image/png"})
    assert (response.status_code, response["Content-Type"]) == (406, "application/problem+json")


def test_pages(admin_client: Client) -> None:
    """Lists come in pages of a size that the client chooses up to a bound; a page too far is a 404."""
    document = admin_client.get("/api/v1/hosts", {"page_size": "7"}).json()
    assert document == {"count": 0, "next": None, "previous": None, "results": []}
    assert admin_client.get("/api/v1/hosts", {"page": "2"}).status_code == 404


def test_files_are_handed_out_whatever_is_accepted(client: Client) -> None:
    """A download does not depend on the Accept field; its errors are problem documents."""
    response = client.get("/api/v1/ca/aegis-local-ca.crt", headers={"Accept": "application/x-x509-ca-cert"})
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    ensure_authority()
    for accept in ("application/x-x509-ca-cert", "text/html", "*/*"):
        response = client.get("/api/v1/ca/aegis-local-ca.crt", headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/x-x509-ca-cert")
