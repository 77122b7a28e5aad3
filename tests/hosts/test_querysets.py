"""Sets of rows."""

import uuid

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hosts.compile import compile_host
from hosts.models import CompiledHost, Host
from tests.hosts.examples import make_host, mtls

pytestmark = pytest.mark.django_db


def test_a_configuration_costs_three_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """However many hosts there are, compiling them reads nothing more."""
    for number in range(4):
        make_host(f"host{number}", upstream_tls=mtls())
    with django_assert_num_queries(3):
        assert len([compile_host(host) for host in Host.objects.with_configuration()]) == 4


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
