"""The audit log in the admin."""

import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry

pytestmark = pytest.mark.django_db

LIST = reverse("admin:audit_auditentry_changelist")


def make_entries(count: int, **values: Any) -> list[AuditEntry]:
    now = timezone.now()
    changes = [{"field": "name", "before": "a", "after": "<b>"}]
    defaults = {"action": "changed", "target_type": "host", "target_id": "7", "origin": "api", "user_name": "eve"}
    return AuditEntry.objects.bulk_create(
        AuditEntry(
            **{
                **defaults,
                "at": now - datetime.timedelta(minutes=i),
                "target_name": f"orders {i}",
                "changes": changes,
                **values,
            }
        )
        for i in range(count)
    )


def page(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_and_its_filters(admin_client: Client) -> None:
    """By action, type, origin, user and date; search finds names and ids."""
    make_entries(3)
    make_entries(1, action="deleted", target_type="group", target_name="readers", origin="admin")
    text = page(admin_client, LIST)
    assert "orders 0" in text
    assert "readers" in text
    for query in ({"action": "deleted"}, {"target_type": "group"}, {"origin__exact": "admin"}, {"q": "readers"}):
        filtered = page(admin_client, LIST, **query)
        assert "readers" in filtered
        assert "orders 0" not in filtered


def test_an_entry_shows_before_and_after(admin_client: Client) -> None:
    """Escaped."""
    (entry,) = make_entries(1)
    text = page(admin_client, reverse("admin:audit_auditentry_change", args=[entry.pk]))
    assert "data-changes" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "/history/" not in text


def test_nobody_changes_or_deletes_an_entry(admin_client: Client) -> None:
    """Not even a superuser; there is no right to it that could be given."""
    (entry,) = make_entries(1)
    detail = reverse("admin:audit_auditentry_change", args=[entry.pk])
    assert admin_client.post(detail, {"action": "x"}).status_code == 403
    assert (
        admin_client.post(reverse("admin:audit_auditentry_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
    )
    assert admin_client.get(reverse("admin:audit_auditentry_add")).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    admin_client.post(LIST, data)
    entry.refresh_from_db()
    assert entry.action == "changed"
    codenames = Permission.objects.filter(content_type__app_label="audit").values_list("codename", flat=True)
    assert list(codenames) == ["view_auditentry"]


def test_it_takes_its_right(client: Client) -> None:
    """Staff without it sees nothing."""
    user = User.objects.create_user("staff", is_staff=True)
    client.force_login(user)
    assert client.get(LIST).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    assert client.get(LIST).status_code == 200


def test_the_number_of_queries_is_constant(admin_client: Client) -> None:
    """However many entries a page shows."""
    make_entries(2)
    page(admin_client, LIST)
    counts = []
    for more in (1, 40):
        make_entries(more)
        with CaptureQueriesContext(connection) as queries:
            page(admin_client, LIST)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 11


def test_a_long_log_costs_what_a_short_one_does(admin_client: Client) -> None:
    """The filters offer the values that occur, without reading the whole log for them."""
    make_entries(1, action="deleted")
    make_entries(300)
    with CaptureQueriesContext(connection) as captured:
        text = page(admin_client, LIST)
    assert "?action=changed" in text
    assert "?action=deleted" in text
    assert not [query["sql"] for query in captured if "DISTINCT" in query["sql"]]
