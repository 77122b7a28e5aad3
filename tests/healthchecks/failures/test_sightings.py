"""sightings: what is met is counted in its group."""

import datetime

import pytest
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from aegis_site.kernel.notifications.events import Event, EventKind
from healthchecks.failures import sightings
from healthchecks.failures.models import FailureGroup, FailureState, Source
from healthchecks.failures.sightings import note_test, record_sightings
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host
from tests.healthchecks.failures.examples import CODE, connection_test, failed, sighting
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

MINUTE = datetime.timedelta(minutes=1)
TWO = (UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="10.0.0.8", port=9443))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What was told."""
    events: list[Event] = []
    monkeypatch.setattr(sightings, "tell_all", events.extend)
    return events


def test_failures_are_grouped_by_upstream_and_code() -> None:
    """With first and last time, a count by source, and the last message."""
    host = make_host(upstreams=TWO)
    record_sightings(
        [
            sighting(host, at=NOW, message="late", count=3),
            sighting(host, at=NOW - MINUTE, source=Source.CHECK, message="early"),
            sighting(host, 1),
            sighting(host, code="timeout"),
        ],
        now=NOW,
    )
    assert FailureGroup.objects.count() == 3
    group = FailureGroup.objects.get(upstream=host.upstreams.all()[0], code=CODE)
    assert (group.traffic_count, group.check_count, group.test_count, group.count) == (3, 1, 0, 4)
    assert (group.first_seen, group.opened_at, group.last_seen) == (NOW - MINUTE, NOW - MINUTE, NOW)
    assert (group.message, group.last_source, group.state) == ("late", "traffic", "open")


def test_counts_go_on() -> None:
    """An older sighting counts without becoming the last one."""
    host = make_host()
    failed(host, message="now")
    group = failed(host, at=NOW - MINUTE, message="before", count=5)
    assert (group.count, group.message, group.first_seen, group.last_seen) == (6, "now", NOW - MINUTE, NOW)


@pytest.mark.parametrize("state", [FailureState.ACKNOWLEDGED, FailureState.OPEN])
def test_what_is_known_stays_known(state: FailureState, told: list[Event]) -> None:
    """A failure that goes on is not opened anew."""
    group = failed(make_host())
    FailureGroup.objects.update(state=state)
    told.clear()
    again = failed(group.host, at=NOW + MINUTE)
    assert (again.state, again.opened_at, told) == (state, NOW, [])


def test_a_resolved_one_opens_again(told: list[Event]) -> None:
    """Seen after it was resolved; one that was only reported late does not open it."""
    group = failed(make_host())
    FailureGroup.objects.update(state=FailureState.RESOLVED, state_since=NOW + MINUTE, state_by="kim")
    late = failed(group.host, at=NOW + MINUTE / 2)
    assert (late.state, late.count) == ("resolved", 2)
    again = failed(group.host, at=NOW + 2 * MINUTE)
    assert (again.state, again.state_by, again.opened_at) == ("open", "", NOW + 2 * MINUTE)
    assert again.first_seen == NOW
    assert len(told) == 2


def test_a_new_cause_in_tls_is_told(told: list[Event]) -> None:
    """Once, with host, cause and the page to look at; a broken connection is not TLS's."""
    host = make_host()
    group = failed(host)
    failed(host, at=NOW + MINUTE)
    failed(host, code="connection_refused")
    [event] = told
    assert event.kind == EventKind.TLS_FAILURE
    assert event.title == f"orders: TLS to https://10.0.0.7:9443 fails, {CODE}"
    assert event.path == reverse("admin:healthchecks_failuregroup_change", args=[group.pk])
    assert event.details["Cause"] == "The upstream does not know the CA that issued our client certificate."


def test_a_muted_one_is_not_told(told: list[Event]) -> None:
    """It opens all the same."""
    group = failed(make_host())
    FailureGroup.objects.update(state=FailureState.RESOLVED, state_since=NOW, muted_until=NOW + 9 * MINUTE)
    told.clear()
    assert failed(group.host, at=NOW + MINUTE, now=NOW + MINUTE).state == "open"
    assert told == []


def test_queries_do_not_grow(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Two for what was met before, inside a savepoint; none for nothing."""
    host = make_host(upstreams=TWO)
    many = [sighting(host, number % 2, code=f"code_{number}") for number in range(30)]
    record_sightings(many, now=NOW)
    with django_assert_num_queries(4):
        record_sightings(many, now=NOW)
    with django_assert_num_queries(2):
        assert record_sightings([], now=NOW) == []
    assert {group.count for group in FailureGroup.objects.all()} == {2}


def test_groups_of_a_host_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolved ones go first, then those that were not seen for longest; other hosts keep theirs."""
    monkeypatch.setattr(sightings, "MAX_GROUPS_PER_HOST", 2)
    host, other = make_host(), make_host("other")
    failed(other)
    failed(host, code="a")
    failed(host, code="b", at=NOW - MINUTE)
    FailureGroup.objects.filter(code="a").update(state=FailureState.RESOLVED)
    failed(host, code="c")
    assert set(FailureGroup.objects.filter(host=host).values_list("code", flat=True)) == {"b", "c"}
    assert FailureGroup.objects.filter(host=other).exists()


def test_a_failed_check_counts() -> None:
    """And one that went well does not."""
    host = checked_host()
    checked(NOW, is_ok=False)
    checked(NOW + MINUTE, is_ok=False)
    checked(NOW + 2 * MINUTE)
    group = FailureGroup.objects.get(host=host)
    assert (group.code, group.check_count, group.message) == ("connection_refused", 2, "refused")


def test_a_failed_connection_test_counts() -> None:
    """Of what is saved."""
    host = make_host()
    note_test(connection_test(host), now=NOW)
    group = FailureGroup.objects.get()
    assert (group.test_count, group.message, group.last_source) == (1, "remote error?", "test")


@pytest.mark.parametrize("values", [{"success": True}, {"is_of_saved_host": False}, {"upstream": None}])
def test_other_connection_tests_do_not_count(values: dict[str, object]) -> None:
    """Those that went well, and those of what is not saved."""
    note_test(connection_test(make_host(), **values), now=NOW)
    assert not FailureGroup.objects.exists()


def test_a_host_that_is_off_has_no_failures() -> None:
    """Whoever sets it up tests it before it works, and nobody is waiting for it."""
    note_test(connection_test(make_host(enabled=False)), now=NOW)
    assert not FailureGroup.objects.exists()
