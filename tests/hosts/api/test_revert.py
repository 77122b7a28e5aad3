"""POST /api/v1/audit/{id}/revert."""

from typing import Any

import pytest
from django.test import Client

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host
from tests.hosts.test_revert_plan import change
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db


def post(client: Client, entry: AuditEntry, **body: Any) -> Any:
    return client.post(f"/api/v1/audit/{entry.pk}/revert", body, content_type="application/json")


def test_tried_and_done(admin_client: Client) -> None:
    """A dry run says what would come back, and of which version; with that, it is done."""
    host = make_host()
    entry = change(host, upstream_tls=UpstreamTLSChanges(skip_verify=True, skip_verify_reason="migration"))
    tried = post(admin_client, entry, dry_run=True)
    assert tried.status_code == 200, tried.content
    document = tried.json()
    assert document["changes"][0] == {"field": "upstream_tls.skip_verify", "before": True, "after": False}
    assert [kept["field"] for kept in document["kept"]] == ["upstream_tls.skip_verify_since"]
    assert (document["entry"], document["host"], document["conflicts"]) == (entry.pk, str(host.pk), [])
    assert Host.objects.get(upstream_tls__skip_verify=True)
    done = post(admin_client, entry, host_version=document["host_version"])
    assert (done.status_code, done.json()["dry_run"]) == (200, False)
    assert not Host.objects.filter(upstream_tls__skip_verify=True).exists()
    again = post(admin_client, entry, host_version=document["host_version"])
    assert (again.status_code, again.json()["errors"][0]["code"]) == (409, "changed_meanwhile")


def test_a_conflict(admin_client: Client) -> None:
    """409; a dry run names the fields."""
    host = make_host()
    entry = change(host, upstreams=(UpstreamSpec(address="10.9.9.9", port=1),))
    change(host, upstreams=(UpstreamSpec(address="10.8.8.8", port=1),))
    assert post(admin_client, entry, dry_run=True).json()["conflicts"] == ["upstreams[0].address"]
    refused = post(admin_client, entry)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "changed_since")


def test_what_cannot_be_reverted(admin_client: Client) -> None:
    """409 for the making of a host, 404 for no entry, 400 for what the body may not have."""
    make_host()
    created = AuditEntry.objects.get(target_type="host")
    assert post(admin_client, created).json()["errors"][0]["code"] == "not_revertible"
    assert post(admin_client, AuditEntry(pk=10**18 - 1)).status_code == 404
    assert post(admin_client, created, dry_run="yes").status_code == 400
