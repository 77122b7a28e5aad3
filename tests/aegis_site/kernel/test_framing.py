"""framing: no body is dropped in silence."""

import pytest
from django.test import Client

from hosts.models import Host
from tests.hosts.examples import make_host


@pytest.mark.django_db
def test_a_chunked_body_is_refused(admin_client: Client) -> None:
    """411 as a problem document; before, a PATCH answered 200 and had changed nothing."""
    host = make_host("a")
    response = admin_client.patch(
        f"/api/v1/hosts/{host.pk}",
        b'{"name": "b"}',
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
    )
    assert (response.status_code, response["Content-Type"]) == (411, "application/problem+json")
    assert response.json()["errors"][0]["code"] == "length_required"
    assert Host.objects.get().name == "a"


@pytest.mark.django_db
def test_other_requests_pass(admin_client: Client) -> None:
    """With a body of known length, or without any."""
    assert admin_client.get("/api/v1/hosts").status_code == 200
    assert admin_client.post("/api/v1/hosts", b"{}", content_type="application/json").status_code == 400
