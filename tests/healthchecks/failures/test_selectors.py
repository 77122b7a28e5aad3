"""selectors: what is open, and what was changed before."""

import datetime

import pytest
from pytest_django import DjangoAssertNumQueries

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.services import record
from healthchecks.failures.models import FailureGroup
from healthchecks.failures.selectors import BEFORE, CLOCK_SKEW, changes_before, failure_groups, open_count, open_groups
from tests.healthchecks.examples import NOW
from tests.healthchecks.failures.examples import failed
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

SECOND = datetime.timedelta(seconds=1)


def entry(at: datetime.datetime, target_type: str, target_id: object = "1") -> int:
    made = record(user=None, action="changed", target_type=target_type, target_id=target_id, target_name="x")
    AuditEntry.objects.filter(pk=made.pk).update(at=at)
    return int(made.pk)


def test_open_ones_are_counted(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Without the muted ones."""
    host = make_host()
    for code in "abcd":
        failed(host, code=code)
    FailureGroup.objects.filter(code="a").update(muted_until=NOW + SECOND)
    FailureGroup.objects.filter(code="b").update(muted_until=NOW)
    FailureGroup.objects.filter(code="c").update(state="acknowledged")
    with django_assert_num_queries(1):
        assert open_count(now=NOW) == 2
    assert {group.code for group in open_groups(now=NOW)} == {"b", "d"}


def test_what_was_changed_before() -> None:
    """Of the host, the local CA and the settings, shortly before, and a clock's error after; newest first."""
    host, other = make_host(), make_host("other")
    AuditEntry.objects.all().delete()
    group = failed(host)
    early = entry(NOW - BEFORE, "host", host.pk)
    wanted = [
        entry(NOW + CLOCK_SKEW, "ca"),
        entry(NOW - SECOND, "settings"),
        entry(NOW - 2 * SECOND, "host", host.pk),
        entry(NOW - 3 * SECOND, "certificate"),
        early,
    ]
    entry(NOW - BEFORE - SECOND, "host", host.pk)
    entry(NOW + CLOCK_SKEW + SECOND, "host", host.pk)
    entry(NOW, "host", other.pk)
    entry(NOW, "user")
    assert [found.pk for found in changes_before(group)] == wanted


def test_a_list_is_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """With host, upstream and total."""
    host = make_host()
    failed(host, count=4)
    with django_assert_num_queries(1):
        [group] = failure_groups()
        assert (group.host.name, str(group.upstream), group.total) == ("orders", "https://10.0.0.7:9443", 4)
