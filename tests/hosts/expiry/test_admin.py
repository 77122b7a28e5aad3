"""The page "Expiry", as a browser gets it."""

import html
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from localca.services import ensure_authority, issue_client_certificate
from tests.hosts.examples import make_host
from tests.hosts.expiry.examples import CLIENT, DAY, NOW, full_host, seen, shown
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db

URL = "/admin/hosts/host/expiry/"


def page(client: Client, **query: Any) -> str:
    response = client.get(URL, query)
    assert response.status_code == 200
    text = html.unescape(response.content.decode())
    assert CLIENT.key_pem.splitlines()[1] not in text
    return text


def test_the_timeline_in_groups(admin_client: Client) -> None:
    """The first end first, with whose it is, what is left, how it is known and what to do."""
    assert reverse("admin:hosts_expiry") == URL
    ensure_authority()
    issue_client_certificate(common_name="partner", issued_for="<the partner>")
    host = full_host()
    seen(host, shown("orders.internal", NOW + 3.5 * DAY), shown("Backend CA", NOW - 2.5 * DAY))
    text = page(admin_client)
    parts = ["Expired", "2 days ago", "CN=Backend CA", "Within 7 days", ">3 days<", "CN=orders.internal", "CN=Root"]
    parts += ["Within 30 days", "CN=client", "Within 90 days", "CN=orders.example.com", "Later", ">Local CA<"]
    table = text[text.index("<tbody>") :]
    places = [table.index(part) for part in parts]
    assert places == sorted(places)
    for shown_too in (
        f'href="/admin/hosts/host/{host.pk}/change/"',
        "10.0.0.7:9443",
        f"seen {NOW:%Y-%m-%d %H:%M}",
        "Upload the CA's newer list",
    ):
        assert shown_too in table
    assert "&lt;the partner&gt;" in admin_client.get(URL).content.decode()
    assert text.count('class="ex-bar"') == 12


def test_filters_and_pages(admin_client: Client) -> None:
    """By text, role and days left; nonsense asks for nothing."""
    for index in range(9):
        full_host(f"host-{index}")
    assert "63 entries" in page(admin_client)
    assert "Page 2 of 2" in page(admin_client, page="2", q="host")
    assert "q=host&page=1" in page(admin_client, page="2", q="host")
    assert "1 entry:" in page(admin_client, role="client", q="host-3")
    assert "9 entries" in page(admin_client, within_days="7")
    assert "Nothing that ends matches" in page(admin_client, q="nobody")
    assert "63 entries" in page(admin_client, within_days="rubbish", page="rubbish")


def test_the_number_of_queries_does_not_grow(admin_client: Client) -> None:
    """Neither with the hosts nor with what their upstreams showed."""
    page(admin_client)
    counts = []
    for number in (1, 10):
        for index in range(number):
            seen(full_host(f"host-{number}-{index}"), shown("x", NOW))
        with CaptureQueriesContext(connection) as queries:
            page(admin_client)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 14


def test_who_may_see_it(client: Client) -> None:
    """Whoever may view hosts, a viewer too."""
    make_host()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(URL).status_code == 403
    client.force_login(user_of("viewer"))
    assert "0 entries" in page(client)
