"""The rows of the admin's lists."""

import datetime
import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.template import Context, Template
from django.test import Client
from django.test.html import parse_html
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.notifications.distribution import distribute
from aegis_site.kernel.notifications.models import MaintenanceWindow
from hosts.models import CompiledHost, ProxyWorker
from localca.models import RevocationReason
from localca.revocation import revoke_certificate
from localca.services import issue_client_certificate, issue_server_certificate
from tests.aegis_site.kernel.notifications.examples import channel as make_channel
from tests.healthchecks.failures.examples import failed
from tests.hosts.examples import make_host
from tests.support.roles import user_of
from tests.support.tokens import token_of

pytestmark = pytest.mark.django_db

OURS = Template("{% load result_list %}{% result_list cl %}")
UNFOLD = Template("{% load unfold_list %}{% unfold_result_list cl %}")


@pytest.fixture
def rows(django_user_model: type[User]) -> None:
    """Some of each kind that differ in what a cell can show: true and false, labels, nothing, texts to be escaped."""
    Group.objects.create(name="<b>auditors</b>")
    django_user_model.objects.create_user("gone", is_active=False)
    token_of(user_of("viewer"))
    for name, enabled in (("orders", True), ("<i>stock</i>", False)):
        host = make_host(name=name, domains=[f"{uuid.uuid4().hex[:8]}.example.com"], enabled=enabled)
        CompiledHost.objects.filter(pk=host.pk).update(problem="<u>broken</u>")
    issued = [issue_client_certificate(common_name=name).record for name in ("<a>", "b")]
    issue_server_certificate(common_name="orders", subject_alt_names=["DNS:orders.example.com"])
    revoke_certificate(certificate=issued[0], reason=RevocationReason.SUPERSEDED, user=None)
    make_channel(name="<i>on call</i>")
    make_channel(name="nobody", enabled=False)
    failed(host)
    distribute(now=timezone.now())
    MaintenanceWindow.objects.create(
        name="<u>move</u>", begins_at=timezone.now(), ends_at=timezone.now() + datetime.timedelta(hours=1)
    )
    ProxyWorker.objects.create(
        worker_id="a", generation=1, accepted=1, rejected={}, version="1", pid=1, last_seen_at=timezone.now()
    )


def drawn(template: Template, response: Any) -> str:
    """The same list as that of a page, by another template."""
    return template.render(Context({name: response.context[name] for name in ("cl", "opts", "request")}))


def test_rows_are_unfolds(admin_client: Client, rows: None) -> None:
    """Of every list, sorted and filtered, to the letter: nothing looks different, and an update of unfold tells."""
    for model in admin.site._registry:
        url = reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist")
        for query in ("", "?o=1", "?q=o"):
            response = admin_client.get(url + query)
            ours = drawn(OURS, response)
            assert ours.strip() in response.content.decode()
            assert parse_html(ours) == parse_html(drawn(UNFOLD, response)), (model, query)
            assert "data-row" in ours or query, model


def test_addresses_keep_the_filters(admin_client: Client, rows: None) -> None:
    """Of the list that one comes from, so that saving leads back to it."""
    response = admin_client.get(reverse("admin:hosts_host_changelist") + "?enabled__exact=1")
    assert "/change/?_changelist_filters=enabled__exact%3D1" in drawn(OURS, response)


def test_popups_are_left_to_unfold(admin_client: Client, rows: None) -> None:
    """Where a row is chosen for another page's form."""
    response = admin_client.get(reverse("admin:auth_group_changelist") + "?_popup=1")
    assert "data-popup-opener" in response.content.decode()
