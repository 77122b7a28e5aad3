"""The first steps of the wizard, for its tests."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from hosts.models import Host
from hosts.wizard.steps import Step
from tests.support.roles import user_of

NEW = "/admin/hosts/host/set-up/"


def url(host: Host, step: Step) -> str:
    return reverse("admin:hosts_host_set_up_step", args=[host.pk, step.value])


def text_of(response: Any) -> str:
    assert response.status_code == 200
    text: str = response.content.decode()
    assert "PRIVATE KEY" not in text
    return text


def begun(client: Client, *urls: str, domain: str = "orders.example.com") -> Host:
    """A host after its first step, and after its second when there are upstreams."""
    assert client.post(NEW, {"domains": domain}).status_code == 302
    host = Host.objects.get(domains__name=domain.split(maxsplit=1)[0])
    if urls:
        response = client.post(url(host, Step.UPSTREAMS), {"upstreams": "\n".join(urls)})
        assert response["Location"] == url(host, Step.CHECK)
    return host


def operator(client: Client) -> User:
    user = user_of("operator")
    client.force_login(user)
    return user
