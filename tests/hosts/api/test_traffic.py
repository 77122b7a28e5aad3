"""GET /api/v1/traffic and /api/v1/hosts/{id}/traffic."""

import uuid

import pytest
from django.test import Client
from django.utils import timezone

from hosts.api.traffic import TrafficSerializer
from tests.hosts.examples import make_host
from tests.hosts.traffic_statistics.examples import minute, told

pytestmark = pytest.mark.django_db


def test_a_host_and_all_hosts(admin_client: Client) -> None:
    """With every field of the schema; numbers that nobody measured are null."""
    host = make_host()
    start_s = int(timezone.now().timestamp()) // 60 * 60 - 60
    told(minute(host.pk, start_s, successes=6, server_errors=2, upto_2_ms=8), at_s=start_s)
    told(minute("", start_s, generation=0, successes=7, server_errors=2, upto_2_ms=8), at_s=start_s)
    found = admin_client.get(f"/api/v1/hosts/{host.pk}/traffic").json()
    assert found.keys() == TrafficSerializer().fields.keys()
    assert (found["window"], found["step_s"], len(found["points"])) == ("1h", 60, 60)
    # A minute may have begun meanwhile.
    (point,) = (point for point in found["points"] if point["requests"])
    assert point.keys() == TrafficSerializer().fields["total"].fields.keys()
    assert (point["requests_per_s"], point["error_rate"], point["p50_ms"]) == (0.133, 0.25, 1.5)
    assert found["points"][0]["error_rate"] is None
    for window, count in (("24h", 144), ("7d", 168)):
        found = admin_client.get("/api/v1/traffic", {"window": window}).json()
        assert (len(found["points"]), found["total"]["requests"]) == (count, 9)


def test_what_is_not_there(admin_client: Client) -> None:
    """No such host, no such window, no such parameter."""
    assert admin_client.get(f"/api/v1/hosts/{uuid.uuid4()}/traffic").status_code == 404
    refused = admin_client.get("/api/v1/traffic", {"window": "1y"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "window")
    assert admin_client.get("/api/v1/traffic", {"until": "now"}).status_code == 400
