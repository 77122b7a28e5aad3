"""standing: what a person says of a group, and when it is over by itself."""

import datetime

import pytest
from django.contrib.auth.models import User

from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.failures.models import FailureGroup
from healthchecks.failures.standing import (
    KEPT_RESOLVED,
    UNSEEN_FOR,
    WELL_FOR,
    acknowledge,
    forget_old_failures,
    mute,
    resolve,
    resolve_recovered,
)
from healthchecks.models import HealthState, UpstreamHealth
from hosts.models import Host, Upstream
from tests.healthchecks.examples import NOW
from tests.healthchecks.failures.examples import connection_test, failed
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

SECOND = datetime.timedelta(seconds=1)


@pytest.fixture
def kim() -> User:
    return User.objects.create_user("kim")


def test_acknowledged_and_resolved_by_hand(kim: User) -> None:
    """By whom and when; again, nothing happens; the audit log has both."""
    group = failed(make_host())
    assert acknowledge(groups=[group], user=kim, now=NOW) == 1
    assert acknowledge(groups=[group], user=kim, now=NOW + SECOND) == 0
    assert resolve(groups=[group], user=kim, now=NOW + 2 * SECOND) == 1
    assert resolve(groups=[group], user=kim, now=NOW + 3 * SECOND) == 0
    group.refresh_from_db()
    assert (group.state, group.state_by, group.state_reason) == ("resolved", "kim", "by hand")
    assert group.state_since == NOW + 2 * SECOND
    entries = AuditEntry.objects.filter(target_type="failure").order_by("pk")
    assert [entry.changes[0] for entry in entries] == [
        {"field": "state", "before": "open", "after": "acknowledged"},
        {"field": "state", "before": "acknowledged", "after": "resolved"},
    ]
    assert entries[0].target_name == "client_certificate_untrusted at orders, https://10.0.0.7:9443"


def test_acknowledging_reopens_nothing(kim: User) -> None:
    """What is resolved stays so."""
    group = failed(make_host())
    resolve(groups=[group], user=kim, now=NOW)
    assert acknowledge(groups=[group], user=kim, now=NOW) == 0


def test_muted_for_a_while(kim: User) -> None:
    """And heard of again afterwards, or when it is no longer muted."""
    group = failed(make_host())
    assert mute(groups=[group], until=NOW + SECOND, user=kim) == 1
    group.refresh_from_db()
    assert (group.is_muted(NOW), group.is_muted(NOW + SECOND)) == (True, False)
    assert mute(groups=[group], until=None, user=kim) == 1
    assert AuditEntry.objects.filter(target_type="failure").count() == 2


def healthy(host: Host, *, since: datetime.datetime, **values: object) -> None:
    found = {
        "upstream": host.upstreams.all()[0],
        "state": HealthState.HEALTHY,
        "is_ok": True,
        "since": since,
        "checked_at": NOW,
        "next_due_at": NOW,
        **values,
    }
    UpstreamHealth.objects.create(**found)


def test_resolved_when_checks_find_the_upstream_well() -> None:
    """For some time, and nobody met the failure since."""
    host = make_host()
    failed(host, at=NOW - WELL_FOR)
    healthy(host, since=NOW - WELL_FOR)
    assert resolve_recovered(now=NOW) == 1
    group = FailureGroup.objects.get()
    assert (group.state, group.state_by, group.state_reason) == ("resolved", "", "the upstream is well again")


@pytest.mark.parametrize(
    "values",
    [
        {"since": NOW - WELL_FOR + SECOND},
        {"state": HealthState.UNHEALTHY},
        {"is_ok": False},
        {"checked_at": NOW - 3 * WELL_FOR},
    ],
)
def test_not_resolved_too_early(values: dict[str, object]) -> None:
    """Well for too short a time, not well, or not asked for long."""
    host = make_host()
    failed(host, at=NOW - WELL_FOR)
    healthy(host, **{"since": NOW - WELL_FOR, **values})  # type: ignore[arg-type]
    assert resolve_recovered(now=NOW) == 0


def test_not_resolved_while_traffic_fails() -> None:
    """However well the checks find it."""
    host = make_host()
    failed(host, at=NOW - SECOND)
    healthy(host, since=NOW - WELL_FOR)
    assert resolve_recovered(now=NOW) == 0


def test_resolved_by_a_later_test() -> None:
    """Of what is saved, which went well."""
    host = make_host()
    failed(host, at=NOW - WELL_FOR)
    failed(host, at=NOW - SECOND, code="timeout")
    connection_test(host, success=True, code="", result={}, finished_at=NOW).save()
    assert resolve_recovered(now=NOW) == 1


def test_resolved_when_not_seen_for_long() -> None:
    """Where nobody checks, silence has to do."""
    host = make_host()
    failed(host, at=NOW - UNSEEN_FOR)
    failed(host, at=NOW - UNSEEN_FOR + SECOND, code="timeout")
    assert resolve_recovered(now=NOW) == 1
    assert FailureGroup.objects.get(state="resolved").state_reason == "not seen for a day"


def test_forgotten_when_long_over(kim: User) -> None:
    """And what an upstream left behind; the rest stays."""
    host, gone = make_host(), make_host("gone")
    resolve(groups=[failed(host)], user=kim, now=NOW - KEPT_RESOLVED - SECOND)
    resolve(groups=[failed(host, code="timeout")], user=kim, now=NOW)
    failed(gone)
    Upstream.objects.filter(host=gone)._raw_delete("default")  # as while it was being written
    assert forget_old_failures(now=NOW) == 2
    assert FailureGroup.objects.get().code == "timeout"
