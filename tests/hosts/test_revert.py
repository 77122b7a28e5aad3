"""revert: undoing one entry of the audit log."""

import datetime

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from hosts.revert import NotRevertible, planned_revert, revert
from hosts.services import delete_host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host, mtls
from tests.hosts.test_revert_plan import change
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db


@pytest.fixture
def kim() -> User:
    return User.objects.create_user("kim")


def wrong_name(host: Host) -> AuditEntry:
    return change(host, upstream_tls=UpstreamTLSChanges(server_name="wrong.internal"))


def server_name(host: Host) -> str:
    return Host.objects.with_configuration().get(pk=host.pk).upstream_configuration.server_name


def test_the_value_comes_back(kim: User) -> None:
    """As a change of its own, whose entry names the one that it reverts."""
    host = make_host()
    entry = wrong_name(host)
    revert(entry=entry, user=kim)
    assert server_name(host) == ""
    made = AuditEntry.objects.latest("pk")
    assert (made.action, made.user_name, made.target_name) == ("reverted", "kim", "orders")
    assert made.changes == [
        {"field": "reverts_entry", "before": None, "after": entry.pk},
        {"field": "upstream_tls.server_name", "before": "wrong.internal", "after": ""},
    ]


def test_a_revert_is_reverted(kim: User) -> None:
    """It is a change like any other."""
    host = make_host()
    revert(entry=wrong_name(host), user=kim)
    revert(entry=AuditEntry.objects.latest("pk"), user=kim)
    assert server_name(host) == "wrong.internal"


def test_upstreams_keep_their_rows(kim: User) -> None:
    """So that their history goes on."""
    host = make_host()
    [upstream] = host.upstreams.all()
    entry = change(host, upstreams=(UpstreamSpec(address="10.9.9.9", port=1, upstream_id=upstream.pk),))
    revert(entry=entry, user=kim)
    assert [(row.pk, row.address) for row in host.upstreams.all()] == [(upstream.pk, "10.0.0.7")]


def test_a_dry_run_keeps_nothing(kim: User) -> None:
    """And says what it would do."""
    host = make_host()
    entry = wrong_name(host)
    count = AuditEntry.objects.count()
    reversal = revert(entry=entry, user=kim, is_dry_run=True)
    assert [item["field"] for item in reversal.plan.changes] == ["upstream_tls.server_name"]
    assert (server_name(host), AuditEntry.objects.count()) == ("wrong.internal", count)


def test_a_conflict_stops_it(kim: User) -> None:
    """Nothing is changed; a dry run only names it."""
    host = make_host()
    entry = wrong_name(host)
    change(host, upstream_tls=UpstreamTLSChanges(server_name="right.internal"))
    assert revert(entry=entry, user=kim, is_dry_run=True).plan.conflicts == ("upstream_tls.server_name",)
    with pytest.raises(NotRevertible, match=r"Changed again since then, so nothing is reverted: upstream_tls\.server"):
        revert(entry=entry, user=kim)
    assert server_name(host) == "right.internal"


def test_a_host_that_was_changed_meanwhile(kim: User) -> None:
    """Is looked at again first."""
    host = make_host()
    entry = wrong_name(host)
    seen = planned_revert(entry).version
    with pytest.raises(NotRevertible) as caught:
        revert(entry=entry, user=kim, version=seen - datetime.timedelta(microseconds=1))
    assert caught.value.code == "changed_meanwhile"
    revert(entry=entry, user=kim, version=seen)


def test_what_is_not_valid_any_more_is_refused(kim: User) -> None:
    """By the path of the field, and nothing is changed."""
    host = make_host(upstream_tls=mtls())
    off = change(host, upstream_tls=UpstreamTLSChanges(enabled=False))
    change(host, upstream_tls=UpstreamTLSChanges(client_certificate="", client_key=""))
    with pytest.raises(ValidationError) as caught:
        revert(entry=off, user=kim)
    assert "upstream_tls.client_key" in caught.value.error_dict


@pytest.mark.parametrize("action", ["created", "deleted", "proved"])
def test_not_every_entry_can_be_reverted(action: str, kim: User) -> None:
    """Only one that changed a host."""
    host = make_host()
    entry = AuditEntry.objects.create(action=action, target_type="host", target_id=str(host.pk), changes=[])
    with pytest.raises(NotRevertible) as caught:
        revert(entry=entry, user=kim)
    assert caught.value.code == "not_revertible"


def test_entries_of_other_things_cannot_be_reverted(kim: User) -> None:
    """Such as settings."""
    changes = [{"field": "a", "before": 1, "after": 2}]
    entry = AuditEntry.objects.create(action="changed", target_type="settings", target_id="1", changes=changes)
    with pytest.raises(NotRevertible):
        revert(entry=entry, user=kim)


def test_the_host_may_be_gone(kim: User) -> None:
    """Which is said."""
    host = make_host()
    entry = wrong_name(host)
    delete_host(host=host, user=kim)
    with pytest.raises(NotRevertible, match="The host orders was deleted"):
        revert(entry=entry, user=kim)


def test_nothing_left_to_revert(kim: User) -> None:
    """When only a key was replaced."""
    host = make_host(upstream_tls=mtls())
    entry = change(host, upstream_tls=mtls(enabled=True, **_other()))
    with pytest.raises(NotRevertible, match="Nothing that this entry changed can be put back"):
        revert(entry=entry, user=kim)


def _other() -> dict[str, str]:
    from tests.hosts.examples import OTHER_LEAF

    return {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
