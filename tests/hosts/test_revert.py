"""revert and return_to: undoing one entry of the audit log, or all since a time."""

import datetime

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from hosts.revert import NotRevertible, planned_return, planned_revert, return_to, revert
from hosts.services import delete_host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, make_host, mtls
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
    with pytest.raises(NotRevertible, match="Nothing that was changed can be put back"):
        revert(entry=entry, user=kim)


def _other() -> dict[str, str]:
    from tests.hosts.examples import OTHER_LEAF

    return {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}


def test_a_host_goes_back_to_a_time(kim: User) -> None:
    """Whatever was changed since, by one change, which says as of when. What was so before stays."""
    host = make_host()
    change(host, websockets=False)
    moment = AuditEntry.objects.latest("pk").at
    wrong_name(host)
    change(host, upstreams=(UpstreamSpec(address="10.9.9.9", port=1), UpstreamSpec(address="10.9.9.8", port=2)))
    change(host, upstream_tls=UpstreamTLSChanges(server_name="still-wrong.internal"), enabled=False)
    planned = planned_return(host.pk, to=moment)
    return_to(host_id=host.pk, to=moment, user=kim, version=planned.version)
    host.refresh_from_db()
    assert (server_name(host), host.enabled, host.websockets) == ("", True, False)
    assert [row.address for row in host.upstreams.all()] == ["10.0.0.7"]
    made = AuditEntry.objects.latest("pk")
    assert (made.action, made.changes[0]) == (
        "reverted",
        {"field": "reverts_to", "before": None, "after": moment.isoformat()},
    )
    assert {change["field"] for change in planned.plan.changes} >= {"enabled", "upstream_tls.server_name"}


def test_a_return_is_returned_from(kim: User) -> None:
    """It is a change like any other; what it undid and what it did cancel out."""
    host = make_host()
    began = host.created_at
    wrong_name(host)
    after = AuditEntry.objects.latest("pk").at
    return_to(host_id=host.pk, to=began, user=kim)
    assert server_name(host) == ""
    return_to(host_id=host.pk, to=after, user=kim)
    assert server_name(host) == "wrong.internal"


def test_keys_stay_and_their_certificates_with_them(kim: User) -> None:
    """The log has no keys: a pair that was replaced since stays, and it is said; everything else goes back."""
    host = make_host(upstream_tls=mtls())
    other = CA.client("other")
    change(host, upstream_tls=UpstreamTLSChanges(client_certificate=other.chain_pem, client_key=other.key_pem))
    wrong_name(host)
    done = return_to(host_id=host.pk, to=host.created_at, user=kim)
    assert server_name(host) == ""
    assert "upstream_tls.client_certificate" in [kept.field for kept in done.plan.kept]
    stored = Host.objects.with_configuration().get(pk=host.pk).upstream_configuration
    assert stored.client_certificate == other.chain_pem


def test_times_without_a_host_or_a_log(kim: User) -> None:
    """Are refused by what is wrong with them; so is one since which nothing was changed."""
    host = make_host()
    long_ago = host.created_at - datetime.timedelta(days=5000)
    Host.objects.filter(pk=host.pk).update(created_at=long_ago)
    for to, code in (
        (long_ago - datetime.timedelta(seconds=1), "before_its_time"),
        (long_ago, "before_the_log"),
        (host.created_at + datetime.timedelta(days=1), "nothing_to_revert"),
    ):
        with pytest.raises(NotRevertible) as caught:
            return_to(host_id=host.pk, to=to, user=kim)
        assert caught.value.code == code


def test_tags_come_back(kim: User) -> None:
    """As the list that they were."""
    host = make_host(tags=("eu", "prod"))
    revert(entry=change(host, tags=("prod", "new", "newer")), user=kim)
    host.refresh_from_db()
    assert host.tags == ["eu", "prod"]
