"""Which hosts a report is about."""

import datetime
from typing import Any

import pytest
from django.utils import timezone

from hosts.models import ConnectionTest, ConnectionTestState, Host
from hosts.posture_filters import PostureFilter, filtered
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, make_host, mtls, site
from tests.support.certificates import DAY
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db

NOW = timezone.now()
SHORT = CA.client("short", not_after=NOW + 10 * DAY)
SHORT_SITE = CA.server("orders.example.com", not_after=NOW + 20 * DAY)


def names(**wanted: Any) -> list[str]:
    return [host.name for host in filtered(Host.objects.all(), PostureFilter(**wanted), now=NOW)]


def test_exceptions_and_mtls() -> None:
    """With and without; an exception that is over is none, whoever has noticed."""
    make_host("plain", upstreams=(UpstreamSpec(scheme="http", address="backend", port=80),))
    make_host("skipped", upstream_tls=mtls(skip_verify=True, skip_verify_until=NOW + DAY))
    make_host("strict", upstream_tls=mtls())
    Host.objects.create(name="bare")
    assert names() == ["bare", "plain", "skipped", "strict"]
    assert names(exceptions=True) == ["plain", "skipped"]
    assert names(exceptions=False) == ["bare", "strict"]
    assert names(mtls=True) == ["skipped", "strict"]
    assert names(mtls=False) == ["bare", "plain"]
    assert names(mtls=True, exceptions=False) == ["strict"]
    later = filtered(Host.objects.all(), PostureFilter(exceptions=True), now=NOW + 2 * DAY)
    assert [host.name for host in later] == ["plain"]


def test_expiry_on_both_sides() -> None:
    """The client certificate when it is presented, the CA, the certificate for clients, and what an upstream showed."""
    pair = {"client_certificate": SHORT.chain_pem, "client_key": SHORT.key_pem}
    make_host("client", upstream_tls=mtls(**pair))
    make_host("off", upstream_tls=mtls(enabled=False, **pair))
    make_host("site", downstream_tls=site(certificate=SHORT_SITE.chain_pem, key=SHORT_SITE.key_pem))
    make_host("long", upstream_tls=mtls(ca_certificate=CA.pem))
    seen = make_host("seen", upstream_tls=UpstreamTLSChanges())
    for days, age in ((5, 2), (30, 1)):
        ConnectionTest.objects.create(
            batch="00000000-0000-0000-0000-000000000001",
            host=seen,
            upstream=seen.upstreams.get(),
            address="10.0.0.7",
            port=9443,
            is_of_saved_host=True,
            state=ConnectionTestState.DONE,
            success=True,
            result={"chain": [{"not_after": (NOW + days * DAY).isoformat()}]},
            created_at=NOW - datetime.timedelta(hours=age),
        )
    assert names(expiring_within_days=0) == []
    assert names(expiring_within_days=15) == ["client"]
    assert names(expiring_within_days=25) == ["client", "site"]
    assert names(expiring_within_days=31) == ["client", "seen", "site"]
