"""The list of hosts as a browser gets it, and what is done to several of them."""

import html
import re
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from tests.hosts.examples import make_host, mtls

pytestmark = pytest.mark.django_db

LIST = reverse("admin:hosts_host_changelist")


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def chosen(action: str, *hosts: Host, **values: str) -> dict[str, Any]:
    return {"action": action, "index": "0", ACTION_CHECKBOX_NAME: [str(host.pk) for host in hosts], **values}


def confirmed(page: str, **values: str) -> dict[str, str]:
    """What the button of a page of several hosts sends."""
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {**dict(fields), **values}


def test_a_row_says_how_the_host_stands(admin_client: Client) -> None:
    """Status, some of the domains, tags as links, what verifies the upstreams, and the way to a copy."""
    domains = tuple(f"{number}.example.com" for number in range(4))
    host = make_host(domains=domains, tags=("prod",), upstream_tls=mtls())
    text = text_of(admin_client.get(LIST))
    for shown in ("Unchecked", "0.example.com", "1.example.com", "and 2 more", "Verified: system CAs", "mTLS"):
        assert shown in text
    assert f'href="{LIST}?tag=prod"' in text
    assert reverse("admin:hosts_host_clone", args=[host.pk]) in text
    assert "3.example.com" not in text


def test_what_stops_is_said_before_it_does(admin_client: Client) -> None:
    """With its domains; done to the hosts of that page, whatever is chosen in the list then."""
    orders, shop = make_host("orders"), make_host("shop")
    make_host("other")
    page = text_of(admin_client.post(LIST, chosen("disable_selected", orders, shop)))
    assert "Disable 2 hosts?" in page
    assert "shop.example.com" in page
    assert "other.example.com" not in page
    assert Host.objects.filter(enabled=True).count() == 3
    page = text_of(admin_client.post(LIST, confirmed(page), follow=True))
    assert "Disabled 2 hosts." in page
    assert set(Host.objects.filter(enabled=True).values_list("name", flat=True)) == {"other"}
    assert "All of these are disabled" in text_of(admin_client.post(LIST, chosen("disable_selected", orders)))
    assert "Enabled 1 host." in text_of(admin_client.post(LIST, chosen("enable_selected", orders), follow=True))


def test_tags_are_asked_for(admin_client: Client) -> None:
    """An error stands at the field and keeps what was typed; each changed host has an entry in the log."""
    orders, shop = make_host("orders", tags=("eu",)), make_host("shop")
    AuditEntry.objects.all().delete()
    page = text_of(admin_client.post(LIST, chosen("tag_selected", orders, shop)))
    assert '<option value="eu">' in page
    refused = text_of(admin_client.post(LIST, confirmed(page, tags="prod!")))
    assert "'prod!' is no tag" in refused
    assert 'value="prod!"' in refused
    assert "This field is required." in text_of(admin_client.post(LIST, confirmed(page, tags="")))
    answer = text_of(admin_client.post(LIST, confirmed(refused, tags="prod, eu"), follow=True))
    assert "Changed the tags of 2 hosts." in answer
    page = text_of(admin_client.post(LIST, chosen("untag_selected", orders, shop)))
    admin_client.post(LIST, confirmed(page, tags="eu"))
    assert dict(Host.objects.values_list("name", "tags")) == {"orders": ["prod"], "shop": ["prod"]}
    assert AuditEntry.objects.count() == 4


@pytest.mark.parametrize("action", ["enable_selected", "disable_selected", "tag_selected", "untag_selected"])
def test_who_may_only_look_does_nothing_to_many(client: Client, action: str) -> None:
    """Neither is it offered, nor is the button's request obeyed; what names no host does no harm."""
    host = make_host(enabled=action != "enable_selected", tags=("eu",))
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_host"))
    client.force_login(user)
    before = Host.objects.get()
    values = chosen(action, host, confirmed="1", selected=f"nonsense {host.pk}", tags="eu")
    response = client.post(LIST, values, follow=True)
    assert action not in response.content.decode()
    after = Host.objects.get()
    assert (after.enabled, after.tags, after.updated_at) == (before.enabled, before.tags, before.updated_at)
