"""The health check in the host editor, as a browser gets and sends it."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.models import HealthCheck, HealthSummary, HealthTransition, UpstreamHealth
from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import checked_host
from tests.hosts.examples import make_host
from tests.hosts.test_admin import ADD, editor, form_data, page, sign_in

pytestmark = pytest.mark.django_db

PREFIX = "health_check"


def check_data(host: Host | None = None, **values: str) -> dict[str, str]:
    """The part of the form that is the check's."""
    stored = HealthCheck.objects.filter(host=host).first() if host else None
    fields = {
        "kind": "http",
        "method": "GET",
        "path": "/",
        "host_field": "",
        "expected_status": "200-399",
        "body_contains": "",
        "headers": "",
        "interval_s": "10",
        "timeout_s": "5",
        "healthy_after": "2",
        "unhealthy_after": "3",
        "id": str(stored.pk) if stored else "",
        "host": str(host.pk) if host else "",
        **values,
    }
    return {
        f"{PREFIX}-TOTAL_FORMS": "1",
        f"{PREFIX}-INITIAL_FORMS": "1" if stored else "0",
        **{f"{PREFIX}-0-{name}": value for name, value in fields.items()},
    }


def saved(client: Client, url: str, data: dict[str, Any]) -> None:
    response = client.post(url, data)
    assert response.status_code == 302, response.context["errors"] if response.context else response.content


def test_a_new_host_with_a_check(admin_client: Client) -> None:
    """Saved with the host, in one entry of the audit log."""
    assert "Check health" in page(admin_client, ADD)
    saved(
        admin_client, ADD, form_data() | check_data(enabled="on", path="/healthz", headers="X-Probe: 1\nX-More: a: b")
    )
    check = HealthCheck.objects.get()
    assert (check.enabled, check.path) == (True, "/healthz")
    assert check.headers == [{"name": "X-Probe", "value": "1"}, {"name": "X-More", "value": "a: b"}]
    [entry] = AuditEntry.objects.filter(target_type="host")
    changes = {change["field"]: change["after"] for change in entry.changes}
    assert changes["health_check"]["path"] == "/healthz"


def test_a_check_is_changed(admin_client: Client) -> None:
    """What it has is shown; a new version of the host follows, so that it is checked anew."""
    host = checked_host(headers=[{"name": "X-Probe", "value": "1"}])
    before = Host.objects.get().updated_at
    assert "X-Probe: 1" in page(admin_client, editor(host))
    saved(admin_client, editor(host), form_data(host) | check_data(host, interval_s="30", headers="X-Probe: 1"))
    assert HealthCheck.objects.get().interval_s == 30
    assert Host.objects.get().updated_at > before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout_s": "10"}, "Less than the interval of 10 seconds."),
        ({"path": "healthz"}, "A path begins with a slash"),
        ({"headers": "no field"}, "Write one header field in a line"),
        ({"headers": "Authorization: Basic x"}, "looks like a credential"),
        ({"expected_status": "2xx"}, "such as 200-399"),
    ],
)
def test_an_error_stands_at_its_field(admin_client: Client, values: dict[str, str], message: str) -> None:
    """Nothing is saved, and what was written is shown again."""
    response = admin_client.post(ADD, form_data() | check_data(enabled="on", **values))
    assert response.status_code == 200
    text = response.content.decode()
    assert message in text
    assert next(iter(values.values())) in text
    assert not Host.objects.exists()


def test_a_form_without_the_check_leaves_it_alone(admin_client: Client) -> None:
    """As any field that a page did not have."""
    host = checked_host(path="/healthz")
    saved(admin_client, editor(host), form_data(host))
    assert HealthCheck.objects.get().path == "/healthz"


def test_who_may_only_look(client: Client) -> None:
    """Sees the check and no field to change it."""
    sign_in(client, "view_host")
    text = page(client, editor(make_host(sections={"health_check": {"path": "/only-seen"}})))
    assert "/only-seen" in text
    assert f'name="{PREFIX}-0-path"' not in text


def test_the_editor_asks_once_for_each_part(admin_client: Client) -> None:
    """unfold asks for a read-only value five times; the history alone is eight queries, for however many upstreams."""
    host = checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, 11)])
    with CaptureQueriesContext(connection) as queries:
        page(admin_client, editor(host))
    # Of the history two and three; before, five times as many.
    tables = (HealthSummary, HealthTransition, UpstreamHealth, ConnectionTest)
    asked = [sum(f'FROM "{table._meta.db_table}"' in query["sql"] for query in queries) for table in tables]
    assert asked == [2, 3, 1, 1]
