"""The health of upstreams in the admin: in the page of their host, and on a page of its own."""

import datetime
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from healthchecks import history_admin
from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import checked, checked_host
from tests.hosts.examples import make_host
from tests.hosts.test_admin import ADD, editor, page, sign_in

pytestmark = pytest.mark.django_db


def health(host: Host) -> str:
    return f"/admin/hosts/host/{host.pk}/health/"


def upstreams(count: int) -> list[UpstreamSpec]:
    return [UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, count + 1)]


def test_the_page_of_a_host_shows_how_its_upstreams_stand(client: Client) -> None:
    """To whoever may only look, too: state, why, uptime, timeline, latency and numbers."""
    host = checked_host(healthy_after=1, unhealthy_after=1)
    now = timezone.now()
    checked(now - datetime.timedelta(seconds=40), duration_ms=12)
    checked(now - datetime.timedelta(seconds=10), is_ok=False, message="connection <refused>")
    sign_in(client, "view_host")
    text = page(client, editor(host))
    for part in (
        "Unhealthy",
        "connection &lt;refused&gt;",
        "Uptime, 24 hours",
        "hh-timeline",
        "hh-mean",
        "connection_refused (1)",
    ):
        assert part in text, part


def test_a_host_that_was_never_to_be_checked_has_no_such_section(admin_client: Client) -> None:
    """Nor has a new one."""
    host = make_host()
    host.health_check.delete()
    assert "hh-timeline" not in page(admin_client, editor(host))
    assert "hh-timeline" not in page(admin_client, ADD)


def test_what_is_not_checked_has_no_data(admin_client: Client) -> None:
    """And says so."""
    text = page(admin_client, health(make_host()))
    assert "Not checked" in text
    assert text.count("no data<") == 3
    assert "hh-mean" not in text


@pytest.mark.parametrize("asked", ["24h", "7d", "30d", "1y", "\0"])
def test_a_range_is_chosen(admin_client: Client, asked: str) -> None:
    """What is none of them is a day. A fragment is the section without the page around it."""
    host = checked_host()
    answer: Any = admin_client.get(health(host), {"range": asked, "page": "x", "fragment": "1"})
    text = answer.content.decode()
    chosen = asked if asked in ("24h", "7d", "30d") else "24h"
    assert f'data-hh-link="{chosen}" aria-current="true"' in text
    assert "<html" not in text


def test_many_upstreams_have_pages(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no page is endless."""
    monkeypatch.setattr(history_admin, "UPSTREAMS_SHOWN", 2)
    host = checked_host(upstreams=upstreams(3))
    assert page(admin_client, health(host)).count("hh-card") == 2
    assert page(admin_client, health(host) + "?page=2").count("hh-card") == 1


def test_a_host_that_is_not_there(admin_client: Client) -> None:
    """404."""
    assert admin_client.get(f"/admin/hosts/host/{uuid.uuid4()}/health/").status_code == 404


def test_the_number_of_queries_does_not_grow() -> None:
    """With upstreams."""

    def queries(count: int) -> int:
        host = checked_host(f"host-{count}", upstreams=upstreams(count), unhealthy_after=1)
        checked(timezone.now(), is_ok=False)
        with CaptureQueriesContext(connection) as captured:
            history_admin.history_section(host, range_=history_admin.RANGES[0], page=None, now=timezone.now())
        return len(captured)

    assert queries(1) == queries(5) == 8
