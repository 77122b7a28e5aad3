"""revert_plan: which values of an entry come back."""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from hosts.revert_plan import Kept, Plan, plan_revert
from hosts.services import update_host
from hosts.specs import HeaderRuleSpec, HostSpec, UpstreamSpec
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db

A, B, C = (UpstreamSpec(address=f"10.0.0.{number}", port=443) for number in (1, 2, 3))


def change(host: Host, **values: Any) -> AuditEntry:
    """The entry of a change."""
    update_host(host=host, spec=HostSpec(**values), user=None)
    return AuditEntry.objects.latest("pk")


def plan(entry: AuditEntry) -> Plan:
    return plan_revert([entry], Host.objects.with_configuration().get(pk=entry.target_id))


def ids(host: Host) -> list[str]:
    return [str(upstream.pk) for upstream in host.upstreams.all()]


def test_values_and_sections_come_back() -> None:
    """Only those that were changed; before is what is stored now."""
    host = make_host()
    entry = change(
        host,
        enabled=False,
        upstream_tls=UpstreamTLSChanges(server_name="wrong.internal", ca_certificate=CA.pem),
        timeouts={"connect_s": 9.0},
        sections={"health_check": {"path": "/up"}},
    )
    found = plan(entry)
    assert found.body == {
        "enabled": True,
        "upstream_tls": {"server_name": "", "ca_certificate": ""},
        "timeouts": {"connect_s": 5.0},
        "health_check": {"path": "/"},
    }
    assert {"field": "enabled", "before": False, "after": True} in found.changes
    assert (found.kept, found.conflicts) == ((), ())


@pytest.mark.parametrize(
    ("before", "after"), [([A], [A, B, C]), ([A, B, C], [A]), ([A, B, C], [A, C]), ([A, B], [B, A]), ([A], [C])]
)
def test_lists_come_back(before: list[UpstreamSpec], after: list[UpstreamSpec]) -> None:
    """With what was added gone, and what was taken away there again."""
    host = make_host(upstreams=tuple(before))
    found = plan(change(host, upstreams=tuple(after)))
    assert [upstream["address"] for upstream in found.body["upstreams"]] == [spec.address for spec in before]


def test_an_upstream_keeps_its_id() -> None:
    """When it is changed and not another one."""
    host = make_host(upstreams=(A, B))
    kept = ids(host)
    found = plan(change(host, upstreams=(UpstreamSpec(address="10.0.0.9", port=1, upstream_id=uuid.UUID(kept[0])), B)))
    assert [upstream.get("id") for upstream in found.body["upstreams"]] == kept


def test_what_was_changed_since_is_a_conflict() -> None:
    """And then nothing comes back."""
    host = make_host()
    entry = change(host, enabled=False, upstream_tls=UpstreamTLSChanges(server_name="a.internal"))
    change(host, upstream_tls=UpstreamTLSChanges(server_name="b.internal"))
    found = plan(entry)
    assert (found.conflicts, found.body) == (("upstream_tls.server_name",), {})


def test_other_changes_since_are_kept() -> None:
    """Fields beside, and other upstreams of the list."""
    host = make_host(upstreams=(A, B))
    entry = change(host, upstreams=(UpstreamSpec(address="10.0.0.9", port=443), B))
    change(host, name="renamed", upstreams=(UpstreamSpec(address="10.0.0.9", port=443), B, C))
    found = plan(entry)
    assert set(found.body) == {"upstreams"}
    assert [upstream["address"] for upstream in found.body["upstreams"]] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_a_list_that_was_shortened_since_is_a_conflict() -> None:
    """What the entry added is gone already."""
    host = make_host()
    entry = change(host, domains=("orders.example.com", "b.example.com"))
    change(host, domains=("orders.example.com",))
    assert plan(entry).conflicts == ("domains[1]",)


def test_a_replaced_key_stays_with_its_certificate() -> None:
    """The log has no keys; the rest comes back."""
    host = make_host(upstream_tls=mtls())
    replaced = UpstreamTLSChanges(
        client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem, server_name="a.internal"
    )
    found = plan(change(host, upstream_tls=replaced))
    assert found.body == {"upstream_tls": {"server_name": ""}}
    reason = "The private key was changed with it, and the log has no keys: both stay as they are."
    assert Kept(field="upstream_tls.client_certificate", reason=reason) in found.kept
    assert LEAF.key_pem not in repr(found)


def test_what_aegis_sets_stays() -> None:
    """Who skipped verification, and since when; switching it off comes back."""
    host = make_host()
    entry = change(host, upstream_tls=UpstreamTLSChanges(skip_verify=True, skip_verify_reason="migration"))
    found = plan(entry)
    assert found.body == {"upstream_tls": {"skip_verify": False, "skip_verify_reason": ""}}
    assert [kept.field for kept in found.kept] == ["upstream_tls.skip_verify_since"]


def test_a_secret_value_does_not_come_back() -> None:
    """Nor does anything of its list; a rule that was added with one goes."""
    secret = HeaderRuleSpec(action="set", name="Authorization", value="Bearer s3cret-token")
    host = make_host()
    added = change(host, request_headers=(HeaderRuleSpec(action="set", name="X-A", value="1"), secret))
    assert plan(added).body == {"request_headers": []}
    changed = change(host, request_headers=(HeaderRuleSpec(action="set", name="X-A", value="2"),))
    found = plan(changed)
    assert (found.body, found.changes) == ({}, ())
    assert {kept.reason for kept in found.kept} == {
        "A secret value was changed, and the log has none: the rules stay as they are."
    }


def test_a_secret_beside_the_change_is_kept() -> None:
    """By leaving its value out."""
    secret = HeaderRuleSpec(action="set", name="Authorization", value="Bearer s3cret-token")
    host = make_host(request_headers=(secret, HeaderRuleSpec(action="set", name="X-A", value="1")))
    kept = HeaderRuleSpec(action="set", name="Authorization")
    entry = change(host, request_headers=(kept, HeaderRuleSpec(action="set", name="X-A", value="2")))
    assert plan(entry).body["request_headers"] == [
        {"action": "set", "name": "Authorization"},
        {"action": "set", "name": "X-A", "value": "1"},
    ]


def test_a_field_that_is_no_more_stays() -> None:
    """As an entry of another version may have."""
    host = make_host()
    entry = AuditEntry(
        target_type="host",
        target_id=str(host.pk),
        at=timezone.now(),
        changes=[{"field": "speed", "before": 1, "after": 2}, {"field": "reverts_entry", "before": None, "after": 7}],
    )
    assert plan(entry).kept == (Kept(field="speed", reason="This version of Aegis does not have it."),)
