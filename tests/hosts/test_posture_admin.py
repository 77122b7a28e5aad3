"""The pages "Posture" and "What if", as a browser gets them."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hosts import connection_tests
from hosts.connection_tests import request_tests_as_stored
from hosts.models import ConnectionTest
from hosts.services import install_issued_certificate
from hosts.tasks import run_connection_tests
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls, site
from tests.hosts.zoo_hosts import host_before
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.zoo.running import Running, run_zoo

# Commits for real, because connection tests are queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

CANARIES = [leaf.key_pem.splitlines()[1] for leaf in (LEAF, OTHER_LEAF)]


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Running]]:
    with run_zoo(["good", "only-tls-12"]) as running:
        yield running


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    text: str = response.content.decode()
    assert not any(canary in text for canary in CANARIES)
    return text


def posture_page(client: Client, **query: Any) -> str:
    return text_of(client.get(reverse("admin:hosts_posture"), query))


def ask(client: Client, **values: str) -> str:
    return text_of(client.post(reverse("admin:hosts_what_if"), values))


def sign_in(client: Client, *codenames: str) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


def test_the_fleet_in_a_table(admin_client: Client, zoo: dict[str, Running]) -> None:
    """Identity, trust, what was negotiated, exceptions with their owner, findings; filters and the way to the CSV."""
    good = host_before(zoo["good"], name="good")
    request_tests_as_stored(host=good, upstreams=good.upstreams.all(), user=None)
    make_host("skipped", upstream_tls=mtls(skip_verify=True, skip_verify_reason="<b>renewal</b>"))
    page = posture_page(admin_client)
    for shown in ("aegis-zoo-client", "TLSv1.3", "Not verified", "&lt;b&gt;renewal&lt;/b&gt;", "2 hosts", "format=csv"):
        assert shown in page
    assert "good" not in posture_page(admin_client, exceptions="yes").split("<tbody>")[1].split("</tbody>")[0]
    assert "No host matches" in posture_page(admin_client, q="nobody")
    assert "skipped" in posture_page(admin_client, exceptions="rubbish", page="rubbish")
    lines = b"".join(
        admin_client.get(reverse("admin:hosts_posture"), {"format": "csv", "exceptions": "yes"}).streaming_content  # type: ignore[attr-defined]
    ).splitlines()
    assert len(lines) == 2


def test_the_number_of_queries_does_not_grow(admin_client: Client) -> None:
    """Neither with the hosts nor with the pages."""
    counts = []
    for number in (3, 60):
        for index in range(number):
            make_host(f"host-{number}-{index}", upstream_tls=mtls(ca_certificate=CA.pem), downstream_tls=site())
        for name, query in (
            ("hosts_posture", {"expiring_within_days": "30"}),
            ("hosts_what_if", {}),
            ("hosts_posture", {}),
        ):
            with CaptureQueriesContext(connection) as queries:
                text_of(admin_client.get(reverse(f"admin:{name}"), query))
            counts.append(len(queries))
    assert counts[:3] == counts[3:]
    assert max(counts) <= 16


def test_a_change_is_tried_and_not_made(admin_client: Client, zoo: dict[str, Running]) -> None:
    """The table says what breaks, why, and what to do; the host stays as it is."""
    host_before(zoo["only-tls-12"], name="old")
    host_before(zoo["good"], name="new")
    page = ask(admin_client, kind="min_version", min_version="TLSv1.3")
    assert page.index(">old</a>") < page.index(">new</a>")
    assert "protocol version not supported" in page
    assert "TLSv1.2, HTTP 200" in page
    assert not UpstreamTLSConfiguration.objects.filter(min_version="TLSv1.3").exists()


def test_what_is_in_use_can_be_chosen(admin_client: Client, zoo: dict[str, Running]) -> None:
    """The CA certificates and client certificates of hosts by name, and those that the local CA issued."""
    ensure_authority()
    host = host_before(zoo["good"], name="good")
    other = make_host("other", upstreams=())
    record = install_issued_certificate(host=other, user=None)
    page = text_of(admin_client.get(reverse("admin:hosts_what_if")))
    (authority,) = host.upstream_configuration.ca_certificate_facts
    identity = host.upstream_configuration.client_certificate_facts[0]
    for value in (authority.fingerprint_sha256, identity.fingerprint_sha256, record.serial_number):
        assert f'value="{value}"' in page
    page = ask(admin_client, kind="remove_ca_certificate", removed=authority.fingerprint_sha256)
    assert "certificate signed by unknown authority" in page
    assert "system trust store" in page
    page = ask(admin_client, kind="revoke_certificate", revoked=record.serial_number)
    assert "cannot be tried" in page
    pair = {"client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}
    page = ask(admin_client, kind="replace_certificate", replaced=identity.fingerprint_sha256, **pair)
    assert "Breaks" in page
    assert not ConnectionTest.objects.exclude(job=None).exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "ca_certificate", "ca_certificate": "no PEM"}, "This is not PEM"),
        ({"kind": "min_version", "min_version": "SSLv3"}, "Select a valid choice"),
        ({"kind": "remove_ca_certificate", "removed": "ab" * 32}, "Select a valid choice"),
        ({"kind": "remove_ca_certificate"}, "64 hexadecimal digits"),
        ({"kind": "replace_certificate"}, "needs a client certificate"),
        ({"kind": "revoke_certificate", "revoked": "\x00"}, "Null characters are not allowed|Select a valid choice"),
        ({"kind": "rubbish"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_asked(admin_client: Client, values: dict[str, str], message: str) -> None:
    """Is said at its field, and nothing is tried."""
    make_host(upstream_tls=mtls())
    page = ask(admin_client, **values)
    assert any(part in page for part in message.split("|"))
    assert not ConnectionTest.objects.exists()


def test_a_pair_that_does_not_fit(admin_client: Client) -> None:
    """The key is not shown again."""
    host = make_host(upstream_tls=mtls())
    fingerprint = host.upstream_configuration.client_certificate_facts[0].fingerprint_sha256
    pair = {"client_certificate": LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    page = ask(admin_client, kind="replace_certificate", replaced=fingerprint, **pair)
    assert "private key does not match public key" in page


def test_without_a_worker(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    monkeypatch.setattr(connection_tests, "TAKEN_WITHIN", connection_tests.TAKEN_WITHIN / 10)
    make_host()
    assert "No Celery worker took the test" in ask(admin_client, kind="min_version", min_version="TLSv1.3")


def test_who_may_do_what(client: Client) -> None:
    """A viewer sees the posture and cannot try anything; a POST needs a CSRF token."""
    sign_in(client, "view_host")
    assert client.get(reverse("admin:hosts_posture")).status_code == 200
    assert client.get(reverse("admin:hosts_what_if")).status_code == 403
    assert client.post(reverse("admin:hosts_what_if"), {"kind": "min_version"}).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    user = User.objects.create_superuser("root")
    strict.force_login(user)
    assert strict.post(reverse("admin:hosts_what_if"), {"kind": "min_version"}).status_code == 403
    stranger = Client()
    stranger.force_login(User.objects.create_user("nobody", is_staff=True))
    assert stranger.get(reverse("admin:hosts_posture")).status_code == 403


def test_too_many_reports(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says how long to wait, and keeps its filter."""
    monkeypatch.setattr("hosts.posture_admin.count_report", lambda user_id: 41)
    response = admin_client.get("/admin/hosts/host/posture/?mtls=yes&format=csv", follow=True)
    assert response.redirect_chain == [("/admin/hosts/host/posture/?mtls=yes", 302)]
    assert "Try again in 41 seconds" in response.content.decode()


def test_too_many_reports_at_once(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise, while others download theirs."""
    monkeypatch.setattr("hosts.posture_csv._places", threading.BoundedSemaphore(1))
    first = admin_client.get("/admin/hosts/host/posture/?format=csv")
    response = admin_client.get("/admin/hosts/host/posture/?mtls=yes&format=csv", follow=True)
    assert response.redirect_chain == [("/admin/hosts/host/posture/?mtls=yes", 302)]
    assert "Try again in 10 seconds" in response.content.decode()
    first.close()
