"""Who a token acts for, and what is refused."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from aegis_site.access.models import ApiToken, Scope
from tests.support.tokens import bearer, token_of
from tests.support.valkey import running_valkey

pytestmark = pytest.mark.django_db

HOST = "/api/v1/hosts/00000000-0000-0000-0000-000000000000"


@pytest.fixture
def admin() -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def _cache(settings: Settings) -> Iterator[None]:
    with running_valkey() as server:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [server.url]}}
        yield


def code_of(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["errors"][0]["code"]


@pytest.mark.parametrize("path", ["/api/v1/hosts", HOST, f"{HOST}/test-upstream-tls", f"{HOST}/prove-enforcement"])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_read_token_changes_nothing(client: Client, admin: User, method: str, path: str) -> None:
    """Whatever its user may do; also where there is no such method or thing."""
    response = getattr(client, method)(path, {}, "application/json", headers=bearer(token_of(admin, Scope.READ)))
    assert code_of(response) == (403, "token_read_only")
    assert response.json()["detail"] == "This token may only read."


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_a_read_token_reads(client: Client, admin: User, method: str) -> None:
    """The safe methods of HTTP (RFC 9110 section 9.2.1), TRACE aside."""
    response = getattr(client, method)("/api/v1/hosts", headers=bearer(token_of(admin, Scope.READ)))
    assert response.status_code == 200


def test_a_scope_that_is_not_known_only_reads(client: Client, admin: User) -> None:
    """A row of another version gives no rights by accident."""
    token = token_of(admin)
    ApiToken.objects.update(scope="all")
    assert code_of(client.post("/api/v1/hosts", headers=bearer(token))) == (403, "token_read_only")


def test_what_is_over_or_belongs_to_nobody_active(client: Client, admin: User) -> None:
    """An expired token and one of an inactive user get the same answer as one that never was."""
    expired, inactive = token_of(admin), token_of(User.objects.create_superuser("gone", is_active=False))
    ApiToken.objects.filter(pk=expired.pk).update(expiry=timezone.now() - datetime.timedelta(seconds=1))
    answers = [
        client.get("/api/v1/hosts", headers=headers)
        for headers in (bearer(expired), bearer(inactive), {"Authorization": f"Token aegis_{'0' * 64}"})
    ]
    assert {code_of(answer) for answer in answers} == {(401, "authentication_failed")}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    "value",
    [
        "Token",
        "Token a b",
        "Token " + "0" * 63,
        "Token aegis_" + "0" * 65,
        "Token aegis_" + "G" * 64,
        "Token \x00" + "0" * 63,
        "Token ÿþ",
        "Token " + "a" * 100_000,
    ],
    ids=["nothing", "two", "short", "long", "not hex", "NUL", "not UTF-8", "huge"],
)
def test_what_cannot_be_a_token(client: Client, django_assert_num_queries: DjangoAssertNumQueries, value: str) -> None:
    """401 without asking the database."""
    with django_assert_num_queries(0):
        assert code_of(client.get("/api/v1/hosts", headers={"Authorization": value})) == (401, "authentication_failed")


def test_a_use_is_noted(client: Client, admin: User) -> None:
    """The list in the admin shows which tokens nobody uses any more."""
    token = token_of(admin)
    client.get("/api/v1/hosts", headers=bearer(token))
    last_used_at = ApiToken.objects.get().last_used_at
    assert last_used_at is not None
    assert timezone.now() - last_used_at < datetime.timedelta(minutes=1)


@pytest.mark.usefixtures("_cache")
def test_failures_are_slowed_down_by_address(client: Client, admin: User, settings: Settings) -> None:
    """Over the rate it is 429 with Retry-After; others are not concerned, nor is a token that is right."""
    settings.AEGIS_TOKEN_FAILURES_PER_MINUTE = 2
    wrong = {"Authorization": f"Token aegis_{'0' * 64}"}
    # The minute may end between two of the requests, not twice.
    answers = [client.get("/api/v1/hosts", headers=wrong) for _ in range(6)]
    assert [answer.status_code for answer in answers[:2]] == [401, 401]
    throttled = [answer for answer in answers if answer.status_code == 429]
    assert throttled
    assert code_of(throttled[0]) == (429, "throttled")
    assert 1 <= int(throttled[0]["Retry-After"]) <= 61
    assert client.get("/api/v1/hosts", headers=wrong, REMOTE_ADDR="192.0.2.1").status_code == 401
    assert client.get("/api/v1/hosts", headers=bearer(token_of(admin))).status_code == 200
