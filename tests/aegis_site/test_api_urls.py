"""What stands at the other paths below /api/v1."""

import pytest
from django.test import Client


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
@pytest.mark.parametrize("path", ["nothing", "hosts/not-an-identifier", "ca/other"])
def test_unknown_paths(client: Client, method: str, path: str) -> None:
    """404 as a problem document, for every method and without signing in."""
    response = getattr(client, method)(f"/api/v1/{path}")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["detail"] == "There is nothing at this path."


@pytest.mark.django_db
def test_the_root_names_the_beginnings(admin_client: Client) -> None:
    """A signed-in user finds where the collections are."""
    document = admin_client.get("/api/v1/").json()
    collections = {"hosts", "posture", "expiry", "failures", "logs", "workers", "certificates", "ca", "settings"}
    collections |= {"audit", "notification-channels", "notification-deliveries", "maintenance-windows"}
    assert set(document) == collections | {"schema", "docs"}
    for name, url in document.items():
        assert url == f"http://testserver/api/v1/{name}"
    assert Client().get("/api/v1/").status_code == 401
