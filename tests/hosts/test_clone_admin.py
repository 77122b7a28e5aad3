"""The page "Clone", as a browser gets it."""

import html
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from hosts.models import Host
from tests.hosts.examples import LEAF, make_host
from tests.hosts.exchange.examples import TOKEN, make_secretive_host

pytestmark = pytest.mark.django_db

CANARIES = (LEAF.key_pem.splitlines()[1], TOKEN)


def page_of(host: Host) -> str:
    return reverse("admin:hosts_host_clone", args=[host.pk])


def text_of(response: Any) -> str:
    assert response.status_code == 200
    text = html.unescape(response.content.decode())
    assert not [canary for canary in CANARIES if canary in text]
    return text


def test_a_copy_is_made_and_opened(admin_client: Client) -> None:
    """With its secrets when the switch is on; the page names what it does without, and holds no secret."""
    host = make_secretive_host()
    page = text_of(admin_client.get(page_of(host)))
    assert "Copy the secrets too" in page
    assert "the copy gets none" in page
    values = {"name": "copy", "domains": "copy.example.com, b.example.com", "with_secrets": "on"}
    text = text_of(admin_client.post(page_of(host), values, follow=True))
    copy = Host.objects.get(name="copy")
    assert "Copied orders. The copy is disabled" in text
    assert [domain.name for domain in copy.domains.all()] == ["copy.example.com", "b.example.com"]
    assert copy.upstream_tls.has_client_key
    assert "Copy the secrets too" not in text_of(admin_client.get(page_of(make_host("plain"))))


def test_errors_stand_at_their_fields(admin_client: Client) -> None:
    """And what was typed stays; nothing is made."""
    host = make_host()
    text = text_of(admin_client.post(page_of(host), {"name": "orders", "domains": "orders.example.com"}))
    assert "There is a host with this name already." in text
    assert "orders.example.com is already a domain of the host orders." in text
    assert Host.objects.count() == 1
    missing = "00000000-0000-4000-8000-000000000000"
    assert admin_client.get(page_of(Host(id=missing))).status_code == 404
