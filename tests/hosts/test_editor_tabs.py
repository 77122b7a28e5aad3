"""Which part of the editor stands in which tab."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from hosts.editor_tabs import TABS
from tests.hosts.examples import make_host
from tests.hosts.test_admin import form_data

pytestmark = pytest.mark.django_db

ADD = reverse("admin:hosts_host_add")


def tabs_of(client: Client, url: str) -> dict[str, list[str]]:
    """Of each tab its parts."""
    tabs = client.get(url).context["editor_tabs"]
    return {
        tab.slug: [*(inline.formset.prefix for inline in tab.inlines), *(part.name for part in tab.fieldsets)]
        for tab in tabs
    }


def test_every_part_has_its_place(admin_client: Client) -> None:
    """In the order in which a host is set up; a new host has no history."""
    url = reverse("admin:hosts_host_change", args=[make_host().pk])
    tabs = tabs_of(admin_client, url)
    assert list(tabs) == [slug for slug, _ in TABS]
    assert tabs["general"] == ["General"]
    assert tabs["upstreams"] == ["upstreams"]
    assert tabs["upstream-tls"] == ["Upstream TLS"]
    assert tabs["certificates"] == ["Client certificate", "HTTPS towards clients"]
    assert {"health_check", "Proxy workers"} <= set(tabs["health"])
    assert set(tabs["advanced"]) == {"Advanced upstream TLS", "Traffic", "Header rules"}
    new = tabs_of(admin_client, ADD)
    assert "history" not in new
    assert new["certificates"] == ["HTTPS towards clients"]


def test_the_first_tab_with_an_error_is_shown(admin_client: Client) -> None:
    """Errors are counted where they are, those of rows as well."""
    response = admin_client.post(ADD, form_data(address="a b", ciphers="nonsense"))
    tabs = {tab.slug: tab for tab in response.context["editor_tabs"]}
    assert {slug: tab.error_count for slug, tab in tabs.items() if tab.error_count} == {"upstreams": 1, "advanced": 1}
    assert [slug for slug, tab in tabs.items() if tab.is_first_shown] == ["upstreams"]
    text = response.content.decode()
    assert "data-et-unsaved" in text
    assert "<script>" not in text[text.index("data-et-bar") : text.index('id="tab-advanced"')]


def test_who_may_only_look_has_the_tabs_with_something_in_them(client: Client) -> None:
    """With the history, from which nothing can be reverted."""
    host = make_host()
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_host"))
    client.force_login(user)
    url = reverse("admin:hosts_host_change", args=[host.pk])
    assert tabs_of(client, url)["upstream-tls"] == ["Upstream TLS", "Connection test"]
    text = client.get(url).content.decode()
    assert "The whole history" in text
    assert "Revert…" not in text
