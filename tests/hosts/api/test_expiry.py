"""GET /api/v1/expiry and /api/v1/expiry/metrics."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from aegis_site.access.models import Scope
from hosts.api.expiry import ExpirySerializer
from localca.services import ensure_authority
from tests.hosts.expiry.examples import CLIENT, DAY, NOW, full_host, seen, shown
from tests.support.roles import user_of
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.django_db

URL = "/api/v1/expiry"


def get(client: Client, **query: Any) -> Any:
    response = client.get(URL, query)
    assert response.status_code == 200, response.content
    assert CLIENT.key_pem.splitlines()[1] not in response.content.decode()
    return response.json()


def test_the_timeline(admin_client: Client) -> None:
    """The first end first, with every field of the schema, in pages."""
    host = full_host()
    seen(host, shown("orders.internal", NOW - 2.5 * DAY))
    page = get(admin_client, page_size=2)
    assert page["count"] == 8
    first, second = page["results"]
    assert first == {
        "role": "upstream",
        "owner": {
            "type": "host",
            "id": str(host.pk),
            "name": "orders",
            "page": f"/admin/hosts/host/{host.pk}/change/",
        },
        "subject": "CN=orders.internal",
        "fingerprint_sha256": b"orders.internal".hex().ljust(64, "0"),
        "not_after": (NOW - 2.5 * DAY).isoformat().replace("+00:00", "Z"),
        "days_left": -3,
        "horizon": "expired",
        "upstream": "10.0.0.7:9443",
        "seen_at": NOW.isoformat().replace("+00:00", "Z"),
        "fix": first["fix"],
    }
    assert (second["role"], second["horizon"], second["upstream"], second["seen_at"]) == (
        "revocation_list",
        "7_days",
        None,
        None,
    )
    for document in page["results"]:
        assert json.loads(json.dumps(ExpirySerializer(document).data)) == document


def test_filters(admin_client: Client) -> None:
    """By role, days left and words."""
    full_host("orders")
    full_host("shop")
    assert [found["owner"]["name"] for found in get(admin_client, role="client")["results"]] == ["orders", "shop"]
    assert get(admin_client, within_days=7)["count"] == 2
    assert get(admin_client, search="SHOP root", within_days=7)["count"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"role": "king"}, "role"),
        ({"within_days": "-1"}, "within_days"),
        ({"within_days": "soon"}, "within_days"),
        ({"search": "\x00"}, "search"),
        ({"search": "x" * 301}, "search"),
        ({"ordering": "name"}, "ordering"),
        ({"page": "0"}, "page"),
    ],
)
def test_what_cannot_be_asked(admin_client: Client, query: dict[str, str], field: str) -> None:
    """A problem document that names the parameter."""
    response = admin_client.get(URL, query)
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert response.json()["errors"][0]["field"] == field


def test_prometheus_reads_it_with_a_token(client: Client) -> None:
    """One that may only read, of a viewer; whatever media type a scrape prefers."""
    ensure_authority()
    full_host()
    token = token_of(user_of("viewer"), Scope.READ)
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4"
    response = client.get(f"{URL}/metrics", headers={**bearer(token), "Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = [line for line in response.content.decode().splitlines() if not line.startswith("#")]
    assert len(lines) == 9
    end = CLIENT.certificate.not_valid_after_utc.timestamp()
    assert any(line.startswith('aegis_expiry_not_after_seconds{host="orders",role="client"') for line in lines)
    assert any(line.endswith(f" {end}") for line in lines)
    assert any('{host="",role="local_ca"' in line for line in lines)


@pytest.mark.parametrize(("codenames", "expected"), [((), 403), (("change_host",), 403), (("view_host",), 200)])
def test_who_may_see_it(client: Client, codenames: tuple[str, ...], expected: int) -> None:
    """Who may view hosts; of the local CA nothing without its permission."""
    ensure_authority()
    full_host()
    for url in (URL, f"{URL}/metrics"):
        assert client.get(url).status_code == 401
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    for url in (URL, f"{URL}/metrics"):
        response = client.get(url)
        assert response.status_code == expected
        assert b"local_ca" not in response.content
