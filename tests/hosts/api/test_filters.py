"""Which hosts and workers a filter finds."""

import datetime
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from hosts.models import Host, ProxyWorker
from hosts.specs import UpstreamSpec
from tests.hosts.examples import LEAF, SITE, make_host, mtls, site

pytestmark = pytest.mark.django_db

HOUR = datetime.timedelta(hours=1)


def found(client: Client, query: str, *, kind: str = "hosts", name: str = "name") -> set[str]:
    response = client.get(f"/api/v1/{kind}?{query}")
    assert response.status_code == 200, response.content
    return {item[name] for item in response.json()["results"]}


@pytest.fixture
def fleet() -> None:
    two = (UpstreamSpec(address="10.0.0.9", port=443), UpstreamSpec(address="10.0.0.9", port=444))
    make_host("orders", upstream_tls=mtls(skip_verify=True), upstreams=two)
    make_host("shop", enabled=False, load_balancing="ip_hash", domains=("shop.example", "*.shop.example"))
    make_host("site", domains=("orders.example.com".replace("orders", "www"),), downstream_tls=site())


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=ORDERS", {"orders"}),
        ("name=order", set()),
        ("domain=*.SHOP.example", {"shop"}),
        ("domain=example.com", set()),
        ("upstream=10.0.0.9", {"orders"}),
        ("enabled=false", {"shop"}),
        ("enabled=true", {"orders", "site"}),
        ("mtls=true", {"orders"}),
        ("mtls=false", {"shop", "site"}),
        ("skip_verify=true", {"orders"}),
        ("load_balancing=ip_hash", {"shop"}),
        ("enabled=true&mtls=false", {"site"}),
        ("enabled=true&search=shop", set()),
        ("search=10.0.0.9", {"orders"}),
    ],
)
def test_hosts(admin_client: Client, fleet: None, query: str, names: set[str]) -> None:
    """Every filter must fit; a host is found once, however many of its upstreams do."""
    assert found(admin_client, query) == names
    assert admin_client.get(f"/api/v1/hosts?{query}").json()["count"] == len(names)


def test_hosts_whose_certificates_end(admin_client: Client, fleet: None) -> None:
    """The client certificate or the one that clients see; the moment itself is not before it."""

    def ending(moment: datetime.datetime) -> set[str]:
        return found(admin_client, f"certificate_expires_before={quote(moment.isoformat())}")

    ends: dict[str, Any] = {
        "orders": LEAF.certificate.not_valid_after_utc,
        "site": SITE.certificate.not_valid_after_utc,
    }
    last = max(ends.values())
    assert ending(last + HOUR) == {"orders", "site"}
    first = min(ends.values())
    assert ending(first) == set()


def test_hosts_by_their_times(admin_client: Client, fleet: None) -> None:
    """Created and updated, from and until."""
    now = timezone.now()
    Host.objects.filter(name="orders").update(created_at=now - 5 * HOUR, updated_at=now - 2 * HOUR)
    old, recent = (quote((now - hours * HOUR).isoformat()) for hours in (3, 1))
    assert found(admin_client, f"created_before={old}") == {"orders"}
    assert found(admin_client, f"created_after={old}") == {"shop", "site"}
    assert found(admin_client, f"updated_after={old}&updated_before={recent}") == {"orders"}


def test_workers(admin_client: Client) -> None:
    """By version, refusals and when they were seen."""
    now = timezone.now()
    ProxyWorker.objects.create(worker_id="a", version="1", last_seen_at=now)
    ProxyWorker.objects.create(worker_id="b", version="2", rejected={"x": "why"}, last_seen_at=now - 2 * HOUR)
    ago = quote((now - HOUR).isoformat())
    for query, names in {
        "version=1": {"a"},
        "has_rejected=true": {"b"},
        "has_rejected=false": {"a"},
        f"seen_after={ago}": {"a"},
        f"seen_before={ago}": {"b"},
        "search=b": {"b"},
    }.items():
        assert found(admin_client, query, kind="workers", name="worker_id") == names
