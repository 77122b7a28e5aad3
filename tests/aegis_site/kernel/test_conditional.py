"""ETags and preconditions, alone and through every kind of view."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIRequestFactory

from aegis_site.kernel.conditional import (
    PreconditionFailed,
    check_if_match,
    etag_of,
    is_conditional,
    matches_if_none_match,
)
from localca.services import ensure_authority
from tests.hosts.examples import make_host


def test_etags() -> None:
    """Equal representations have equal strong ETags, others do not, nor do other media types of the same."""
    assert etag_of({"a": 1}) == etag_of({"a": 1})
    assert etag_of({"a": 1}) != etag_of({"a": 2})
    assert etag_of({"a": 1}) != etag_of({"a": 1}, media_type="application/yaml")
    assert etag_of(b"zip", media_type="application/zip") == etag_of(b"zip", media_type="application/zip")
    assert etag_of({}).startswith('"')
    assert etag_of({}).endswith('"')


@pytest.mark.parametrize("field_value", [None, "", "*", '"now"', '"other", "now"'])
def test_preconditions_that_hold(field_value: str | None) -> None:
    """No If-Match, any, or a list with the current ETag: go on."""
    headers = {} if field_value is None else {"HTTP_IF_MATCH": field_value}
    check_if_match(APIRequestFactory().put("/", **headers), '"now"')


@pytest.mark.parametrize("field_value", ['"then"', 'W/"now"', "now", '"a", "b"'])
def test_preconditions_that_fail(field_value: str) -> None:
    """Another ETag, a weak one, or nonsense: 412, for a lost update is worse than a repetition."""
    with pytest.raises(PreconditionFailed) as raised:
        check_if_match(APIRequestFactory().put("/", HTTP_IF_MATCH=field_value), '"now"')
    assert raised.value.status_code == 412


@pytest.mark.parametrize(
    ("field_value", "matches"),
    [
        ("*", True),
        ('"now"', True),
        ('W/"now"', True),
        ('"a", "now"', True),
        ('"then"', False),
        ("now", False),
        ("", False),
    ],
)
def test_what_the_client_has(field_value: str, matches: bool) -> None:
    """If-None-Match compares weakly; nonsense matches nothing."""
    request = APIRequestFactory().get("/", HTTP_IF_NONE_MATCH=field_value)
    assert matches_if_none_match(request, '"now"') is matches
    assert is_conditional(request) is bool(field_value)


@pytest.fixture
def world(admin_client: Client) -> dict[str, Any]:
    ensure_authority()
    return {"client": admin_client, "host": f"/api/v1/hosts/{make_host().pk}"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/",
        "hosts",
        "host",
        "workers",
        "ca",
        "ca/trust-bundle",
        "ca/aegis-local-ca.crt",
        "schema",
        "hosts?page=1",
    ],
)
def test_every_representation_has_an_etag(world: dict[str, Any], path: str) -> None:
    """Lists and downloads too; who has it gets 304 without a body, who has another one gets it whole."""
    client = world["client"]
    url = world["host"] if path == "host" else path if path.startswith("/") else f"/api/v1/{path}"
    response = client.get(url)
    etag = response["ETag"]
    assert (response.status_code, etag[0], etag[-1]) == (200, '"', '"')
    assert client.head(url)["ETag"] == etag
    for method in (client.get, client.head):
        unchanged = method(url, headers={"If-None-Match": f'"other", {etag}'})
        assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", etag)
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get(url, headers={"If-Match": '"other"'}).status_code == 412


@pytest.mark.django_db
def test_changes_answer_with_the_etag_of_what_they_made(world: dict[str, Any]) -> None:
    """So that the next change needs no GET; an old one is refused, and nothing is changed."""
    client, url = world["client"], world["host"]
    first = client.get(url)["ETag"]
    json: dict[str, Any] = {"content_type": "application/json"}
    changed = client.patch(url, {"websockets": False}, headers={"If-Match": first}, **json)
    assert changed.status_code == 200
    assert changed["ETag"] == client.get(url)["ETag"] != first
    for method in ("put", "patch", "delete"):
        response = getattr(client, method)(url, {"enabled": False}, headers={"If-Match": first}, **json)
        assert response.status_code == 412
        assert response.json()["errors"][0]["code"] == "precondition_failed"
    for field_value in ("*", changed["ETag"]):
        response = client.patch(url, {"enabled": False}, headers={"If-None-Match": field_value}, **json)
        assert response.status_code == 412
    assert client.get(url)["ETag"] == changed["ETag"]
    assert client.delete(url, headers={"If-Match": changed["ETag"]}).status_code == 204


@pytest.mark.django_db
def test_pages_have_no_etag(world: dict[str, Any]) -> None:
    """Each has a CSRF token of its own; the representation in another media type has another ETag."""
    client = world["client"]
    assert "ETag" not in client.get(world["host"], headers={"Accept": "text/html"})
    as_yaml = client.get("/api/v1/schema", headers={"Accept": "application/yaml"})
    assert as_yaml["ETag"] != client.get("/api/v1/schema")["ETag"]


@pytest.mark.django_db
def test_who_may_not_see_learns_nothing(world: dict[str, Any]) -> None:
    """A precondition is not evaluated for users without the permission."""
    client = Client()
    client.force_login(User.objects.create_user("nobody"))
    assert client.delete(world["host"], headers={"If-Match": '"x"'}).status_code == 403
    assert client.get(world["host"], headers={"If-None-Match": "*"}).status_code == 403
