"""Who comes to the steps of a new host, and from where."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hosts.models import Host
from hosts.wizard.steps import BEING_SET_UP_FOR, Step
from tests.hosts.examples import make_host
from tests.hosts.wizard.examples import NEW, begun, operator, text_of, url
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db


def test_the_first_step_makes_a_host_that_is_off(client: Client) -> None:
    """Named by its first domain, and the list and the editor say that it is being set up; later they do not."""
    operator(client)
    host = begun(client, domain="orders.example.com\nwww.orders.example.com")
    assert (host.name, host.enabled) == ("orders.example.com", False)
    listed = reverse("admin:hosts_host_changelist")
    assert "Being set up" in text_of(client.get(listed))
    editor = text_of(client.get(reverse("admin:hosts_host_change", args=[host.pk])))
    assert f'href="{reverse("admin:hosts_host_set_up", args=[host.pk])}"' in editor
    Host.objects.filter(pk=host.pk).update(created_at=timezone.now() - BEING_SET_UP_FOR)
    assert "Being set up" not in text_of(client.get(listed))


def test_what_comes_before_a_step_is_asked_first(admin_client: Client) -> None:
    """Whatever address is typed; and a live host has its last step left."""
    host = begun(admin_client)
    for step in (Step.CHECK, Step.CERTIFICATE, Step.SERVER, Step.TEST, Step.LIVE):
        for response in (admin_client.get(url(host, step)), admin_client.post(url(host, step))):
            assert response["Location"] == url(host, Step.UPSTREAMS)
    assert admin_client.get(url(host, Step.UPSTREAMS).replace("upstreams", "nowhere")).status_code == 404
    Host.objects.filter(pk=host.pk).update(enabled=True)
    sent = {"name": "other", "domains": "other.example.com"}
    assert admin_client.post(url(host, Step.DOMAINS), sent)["Location"] == url(host, Step.LIVE)
    assert not Host.objects.filter(name="other").exists()


def test_every_step_needs_a_csrf_token() -> None:
    """Another site can neither make nor change a host."""
    client = Client(enforce_csrf_checks=True)
    operator(client)
    host = make_host(enabled=False)
    assert client.post(NEW, {"domains": "x.example.com"}).status_code == 403
    for step in Step:
        assert client.post(url(host, step), {"do": "anyway"}).status_code == 403
    assert not Host.objects.get(pk=host.pk).enabled


def test_the_list_leads_there(client: Client) -> None:
    """By a button, and from the empty list; a viewer is not led where nothing is for them."""
    client.force_login(user_of("viewer"))
    listed = reverse("admin:hosts_host_changelist")
    page = text_of(client.get(listed))
    assert "No hosts yet" in page
    assert NEW not in page
    operator(client)
    assert text_of(client.get(listed)).count(f'href="{NEW}"') == 2
    make_host()
    page = text_of(client.get(listed))
    assert page.count(f'href="{NEW}"') == 1
    assert "No hosts yet" not in text_of(client.get(f"{listed}?q=nothing"))


def test_a_host_that_is_not_there(admin_client: Client) -> None:
    """404, also for what has been deleted meanwhile."""
    for name, more in (("hosts_host_set_up", []), ("hosts_host_set_up_step", ["check"])):
        assert admin_client.get(reverse(f"admin:{name}", args=[uuid.uuid4(), *more])).status_code == 404
