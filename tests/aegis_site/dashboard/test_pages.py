"""The dashboard as a browser gets it: for each role, in every state, and what it costs with a thousand hosts."""

import html
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.notifications.models import MaintenanceWindow
from hosts.selectors import LOST_AFTER
from hosts.traffic_statistics.models import ALL_HOSTS
from localca.services import ensure_authority
from tests.aegis_site.dashboard.examples import MINUTE, NOW, failing, healthy, worker
from tests.healthchecks.failures.examples import failed
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from tests.hosts.expiry.examples import DAY, full_host
from tests.hosts.rotation.examples import staged
from tests.hosts.traffic_statistics.examples import minute, told
from tests.support.roles import user_of
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db

INDEX, LIVE = "/admin/", "/admin/dashboard/live/"
HEADINGS = {"Traffic", "Open failures", "Proxy workers", "Ending next", "Upstreams not verified"}


def text_of(client: Client, url: str = LIVE) -> str:
    """What a reader sees, without tags."""
    response = client.get(url)
    assert response.status_code == 200
    page = response.content.decode()
    assert LEAF.key_pem.splitlines()[1] not in page
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_an_empty_installation(admin_client: Client) -> None:
    """It says what to do next, in every card."""
    assert reverse("admin:index") == INDEX
    assert reverse("admin:aegis_dashboard_live") == LIVE
    ensure_authority()  # whose revocation list always ends within seven days
    text = text_of(admin_client)
    for shown in (
        "Ready for the first host",
        "There is no host yet, so nothing is served. Add the first host",
        "What fails in traffic, health checks and connection tests is collected here",
        "manage.py runproxy",
        "No certificate ends within 30 days",
        "None: the certificate of every https upstream is verified.",
    ):
        assert shown in text
    page = admin_client.get(INDEX).content.decode()
    assert f'data-db="{LIVE}?window=1h"' in page
    assert "<title> Dashboard | Aegis</title>" in page
    assert "First steps" in page


def test_all_is_well(admin_client: Client) -> None:
    """In one look."""
    healthy(make_host())
    make_host("silent")
    worker()
    text = text_of(admin_client)
    assert "Nothing is wrong" in text
    assert "1 up, 1 not checked. Of hosts that are not checked" in text
    assert "1 of 1 current" in text


def test_much_is_wrong(admin_client: Client) -> None:
    """Each thing is there with its link, and texts of strangers are escaped."""
    host = failing(make_host("<orders>", domains=("orders.example.com",)))
    worker("edge:1", last_seen_at=NOW - LOST_AFTER - MINUTE)
    group = failed(host)
    rotation = staged(host, OTHER_LEAF, is_manual=True)
    rotation.due_at = None
    rotation.save()
    skipping = UpstreamTLSChanges(skip_verify=True, skip_verify_reason="old appliance")
    skipped = healthy(make_host("legacy", upstream_tls=skipping))
    leaf = CA.client("old", not_after=timezone.now() + DAY)
    ends = make_host("ends", upstream_tls=mtls(client_certificate=leaf.chain_pem, client_key=leaf.key_pem))
    window = MaintenanceWindow.objects.create(name="move", begins_at=NOW - MINUTE, ends_at=NOW + DAY, whole_site=True)
    page = admin_client.get(LIVE).content.decode()
    for path in (
        f"/admin/hosts/host/{host.pk}/change/",
        "/admin/hosts/proxyworker/",
        f"/admin/healthchecks/failuregroup/{group.pk}/change/",
        "/admin/healthchecks/failuregroup/?state__exact=open",
        f"/admin/hosts/host/{host.pk}/rotations/{rotation.pk}/",
        f"/admin/hosts/host/{skipped.pk}/change/",
        f"/admin/hosts/host/{ends.pk}/change/",
        "/admin/hosts/host/expiry/?within_days=7",
        f"/admin/notifications/maintenancewindow/{window.pk}/change/",
    ):
        assert f'href="{path}"' in page, path
        assert admin_client.get(path).status_code == 200
    assert "&lt;orders&gt;" in page
    assert "<orders>" not in page
    text = text_of(admin_client)
    for shown in (
        "Proxy worker edge:1 is lost, and 1 host is down",
        "Nobody listens at the upstream's address and port.",
        "old appliance No end date",
        "nothing is told of anything",
        "1 down 1 up 1 not checked",
        "0 of 1 current",
        "Client certificate",
    ):
        assert shown in text


def test_traffic(admin_client: Client) -> None:
    """The last minute as numbers, and the window that was asked for as plots; too many errors are a problem."""
    start_s = int(timezone.now().timestamp()) // 60 * 60 - 60
    counts = {"successes": 540, "server_errors": 60}
    told(*(minute(ALL_HOSTS, start_s + late, **counts) for late in (0, 60)), at_s=start_s + 120)
    text = text_of(admin_client)
    assert "10 % of all requests fail" in text
    assert "10 /s 10 % errors" in text
    assert "Requests per second in the last hour" in text
    assert "Requests per second in the last 7 days" in text_of(admin_client, f"{LIVE}?window=7d")
    assert "Requests per second in the last hour" in text_of(admin_client, f"{LIVE}?window=rubbish")


def test_what_each_sees(client: Client) -> None:
    """A permission shows its card; whoever has none of them is told where to go."""
    ensure_authority()
    full_host()
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_issuedcertificate"))
    client.force_login(user)
    assert "Nothing that you may see needs attention." in text_of(client)
    assert not any(heading in text_of(client) for heading in HEADINGS)
    assert "orders" not in text_of(client)
    user.user_permissions.add(Permission.objects.get(codename="view_proxyworker"))
    assert {heading for heading in HEADINGS if heading in text_of(client)} == {"Proxy workers"}
    client.force_login(user_of("viewer"))
    assert {heading for heading in HEADINGS if heading in text_of(client)} == HEADINGS
    assert "Add the first host" not in text_of(client)


@pytest.mark.parametrize("url", [INDEX, LIVE])
def test_queries_do_not_grow(admin_client: Client, url: str) -> None:
    """Neither with hosts nor with what is wrong with them."""
    counts = []
    for number in (6, 20):
        for index in range(number):
            host = failing(full_host(f"host-{number}-{index}", skip_verify=True, skip_verify_reason="x"))
            failed(host)
            worker(f"edge-{number}-{index}")
        admin_client.get(url)
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(url).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 40


def test_the_part_has_no_page_around_it(admin_client: Client) -> None:
    """What is asked for every five seconds is the parts alone, never from a cache, and changes nothing."""
    response = admin_client.get(LIVE)
    assert "<html" not in response.content.decode()
    assert re.findall(r'data-db-part="(\w+)"', response.content.decode()) == ["top", "traffic", "cards"]
    assert "no-store" in response["Cache-Control"]
    assert admin_client.post(LIVE).status_code == 405
