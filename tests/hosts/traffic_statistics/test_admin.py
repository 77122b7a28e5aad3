"""Traffic in the host editor."""

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hosts.traffic_statistics.admin import traffic_section
from tests.hosts.examples import make_host
from tests.hosts.test_admin import editor, page
from tests.hosts.traffic_statistics.examples import minute, told
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db


def test_a_host_shows_its_traffic(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Of an hour, a day and a week, to whoever may view it."""
    host = make_host()
    now_s = timezone.now().timestamp()
    told(minute(host.pk, int(now_s) // 60 * 60 - 60, successes=118, server_errors=2, upto_10_ms=120), at_s=now_s)
    with django_assert_num_queries(3):
        section = traffic_section(host, now_s=now_s)
    assert section.count("120 requests, 1.67 % errors") == 3
    assert section.count("<svg") == 12
    for role in ("viewer", "operator"):
        client.force_login(user_of(role))
        assert "120 requests, 1.67 % errors" in page(client, editor(host))
