"""Sets of rows."""

import datetime
import uuid
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hosts.compile import compile_host
from hosts.models import CompiledHost, ConnectionTest, Host
from tests.hosts.examples import make_host, mtls

pytestmark = pytest.mark.django_db


def test_a_configuration_costs_three_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """However many hosts there are, compiling them reads nothing more."""
    for number in range(4):
        make_host(f"host{number}", upstream_tls=mtls())
    with django_assert_num_queries(3):
        assert len([compile_host(host, now=timezone.now()) for host in Host.objects.with_configuration()]) == 4


def test_a_worker_gets_what_it_has_not_seen() -> None:
    """In order, with tombstones; a new worker gets no tombstones."""
    for generation, entry in ((3, "{}"), (1, "{}"), (2, "")):
        CompiledHost.objects.create(
            id=uuid.uuid4(), generation=generation, entry_json=entry, schema_version=1, compiled_at=timezone.now()
        )

    def newer_than(generation: int) -> list[int]:
        return [row.generation for row in CompiledHost.objects.newer_than(generation)]

    assert newer_than(0) == [1, 3]
    assert newer_than(1) == [2, 3]
    assert newer_than(3) == []


def test_connection_tests_end_once() -> None:
    """Overdue are those that were not taken, or not ended, in time; expiring leaves what is over alone."""
    now, second = timezone.now(), datetime.timedelta(seconds=1)

    def make(name: str, age_s: int, **values: Any) -> None:
        ConnectionTest.objects.create(
            batch=uuid.uuid4(),
            address=name,
            port=443,
            is_of_saved_host=False,
            created_at=now - age_s * second,
            **values,
        )

    make("fresh", 1)
    make("not taken", 3)
    make("running", 3, state="running")
    make("not ended", 9, state="running")
    make("done", 9, state="done", result={}, success=True)
    overdue = ConnectionTest.objects.overdue(now, taken_within=2 * second, ended_within=8 * second)
    assert {test.address for test in overdue} == {"not taken", "not ended"}
    assert ConnectionTest.objects.all().expire(now) == 4
    assert ConnectionTest.objects.all().expire(now) == 0
    assert ConnectionTest.objects.get(address="done").finished_at is None


def test_hosts_are_found_by_a_whole_tag() -> None:
    """In any case; a part of one, and characters that mean something to LIKE, find nothing."""
    make_host("a", tags=("prod", "eu_1"))
    make_host("b", tags=("prod-eu", "eux1"))

    def names(tag: str) -> list[str]:
        return [host.name for host in Host.objects.tagged(tag)]

    assert names("PROD ") == ["a"]
    assert names("eu_1") == ["a"]
    assert names("pro") == names("%") == names('prod", "eu') == names("") == []
