"""The audit log in the HTTP API."""

import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.audit.models import AuditEntry
from tests.aegis_site.kernel.audit.test_admin import make_entries

pytestmark = pytest.mark.django_db

URL = "/api/v1/audit"


@pytest.fixture
def viewer(client: Client) -> Client:
    user = User.objects.create_user("viewer")
    user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    client.force_login(user)
    AuditEntry.objects.all().delete()
    return client


def names(client: Client, **query: Any) -> list[str]:
    response = client.get(URL, query)
    assert response.status_code == 200, response.content
    return [entry["target_name"] for entry in response.json()["results"]]


def test_an_entry(viewer: Client) -> None:
    """In the list and by its id, with and without trailing slash."""
    (entry,) = make_entries(1, client_address="192.0.2.1")
    expected = {
        "id": entry.pk,
        "at": entry.at.isoformat().replace("+00:00", "Z"),
        "user": "eve",
        "origin": "api",
        "client_address": "192.0.2.1",
        "action": "changed",
        "target_type": "host",
        "target_id": "7",
        "target_name": "orders 0",
        "changes": [{"field": "name", "before": "a", "after": "<b>"}],
    }
    assert viewer.get(f"{URL}/").json()["results"] == [expected]
    assert viewer.get(f"{URL}/{entry.pk}").json() == expected
    assert viewer.get(f"{URL}/{entry.pk + 1}").status_code == 404
    assert viewer.get(f"{URL}/{'9' * 18}").status_code == 404


def test_filters(viewer: Client) -> None:
    """Each narrows, together they narrow more; the newest come first."""
    old = make_entries(2)[0]
    make_entries(
        1, action="deleted", target_type="user", target_id="9", target_name="bob", user_name="al", origin="admin"
    )
    for query in (
        {"action": "deleted"},
        {"target_type": "user"},
        {"target_id": "9"},
        {"user": "al"},
        {"origin": "admin"},
        {"search": "bob"},
    ):
        assert names(viewer, **query) == ["bob"]
    assert names(viewer, target_type="host", action="changed") == ["orders 0", "orders 1"]
    assert names(viewer, target_type="host", ordering="at") == ["orders 1", "orders 0"]
    assert names(viewer, at_before=old.at.isoformat(), target_type="host") == ["orders 1"]
    assert names(viewer, at_after=old.at.isoformat(), target_type="host") == ["orders 0"]
    assert names(viewer, at_after=(old.at + datetime.timedelta(days=1)).isoformat()) == []


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("origin", "moon"),
        ("at_after", "yesterday"),
        ("at_before", "2026-13-01T00:00:00Z"),
        ("user", "a\0"),
        ("at_after", "0001-01-01T00:00:00+14:00"),
        ("at_before", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_bad_values_are_refused_at_their_parameter(viewer: Client, parameter: str, value: str) -> None:
    """As a problem document."""
    response = viewer.get(URL, {parameter: value})
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [parameter]


def test_it_is_read_only_and_takes_its_right(viewer: Client, client: Client) -> None:
    """Nobody writes; who may not see it learns nothing."""
    (entry,) = make_entries(1)
    for method in ("post", "put", "patch", "delete"):
        for url in (URL, f"{URL}/{entry.pk}"):
            response = getattr(viewer, method)(url, {}, content_type="application/json")
            assert response.status_code in {403, 405}
    client.force_login(User.objects.create_user("nobody"))
    assert client.get(URL).status_code == 403
    assert Client().get(URL).status_code == 401


def test_the_number_of_queries_is_constant(viewer: Client) -> None:
    """However many entries a page shows."""
    counts = []
    for more in (1, 40):
        make_entries(more)
        with CaptureQueriesContext(connection) as queries:
            names(viewer)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7
