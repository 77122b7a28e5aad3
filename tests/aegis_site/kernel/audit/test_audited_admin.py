"""The history of one thing in the admin."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit import audited_admin
from aegis_site.kernel.audit.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def readers() -> Group:
    return Group.objects.create(name="readers")


def history_of(group: Group) -> str:
    return reverse("admin:auth_group_history", args=[group.pk])


def test_it_shows_the_audit_log_of_this_thing_alone(admin_client: Client, readers: Group) -> None:
    """Newest first, in pages."""
    Group.objects.create(name="others")
    for name in ("second", "third"):
        readers.name = name
        readers.save()
    response = admin_client.get(history_of(readers))
    assert [view.entry.action for view in response.context["entries"]] == ["changed", "changed", "created"]
    text = response.content.decode()
    assert text.index("third") < text.rindex("second")
    assert "others" not in text


def test_pages(admin_client: Client, readers: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long history is cut, and a page number that does not exist is the last one."""
    monkeypatch.setattr(audited_admin, "ENTRIES_PER_PAGE", 1)
    readers.name = "second"
    readers.save()
    assert "?p=2" in admin_client.get(history_of(readers)).content.decode()
    assert admin_client.get(history_of(readers), {"p": "99"}).context["entries"][0].entry.action == "created"


def test_an_empty_history_says_so(admin_client: Client, readers: Group) -> None:
    """As of what is older than is kept."""
    AuditEntry.objects.all().delete()
    assert "Nothing was recorded yet" in admin_client.get(history_of(readers)).content.decode()


def test_who_may_see_it(client: Client, readers: Group) -> None:
    """Who may see the thing; of what does not exist the list says so."""
    user = User.objects.create_user("staff", is_staff=True)
    client.force_login(user)
    assert client.get(history_of(readers)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert client.get(history_of(readers)).status_code == 200
    readers.pk = 999
    assert client.get(history_of(readers)).status_code == 302


def test_a_refused_form_leaves_nothing(admin_client: Client, readers: Group) -> None:
    """Nor does one without a change."""
    AuditEntry.objects.all().delete()
    url = reverse("admin:auth_group_change", args=[readers.pk])
    assert admin_client.post(url, {"name": ""}).status_code == 200
    assert admin_client.post(url, {"name": "readers"}).status_code == 302
    assert not AuditEntry.objects.exists()
