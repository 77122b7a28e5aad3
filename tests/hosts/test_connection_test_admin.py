"""connection_test_admin: the Test Connection section of the editor, its endpoints, and the list's column."""

import datetime
import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from hosts import connection_test_run
from hosts.connection_test_admin import SAVE_AND_TEST
from hosts.connection_tests import TAKEN_WITHIN, request_tests_as_stored
from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from hosts.tasks import run_connection_tests
from tests.hosts.connection_examples import FakeProbe, failure
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from upstream_tls.models import UpstreamTLSConfiguration

# Commits for real, because the work is queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:hosts_host_changelist")
ADD = reverse("admin:hosts_host_add")
TEST_NEW = reverse("admin:hosts_host_test_new")
CANARIES = [leaf.key_pem.splitlines()[1] for leaf in (LEAF, OTHER_LEAF)]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> FakeProbe:
    fake = FakeProbe()
    monkeypatch.setattr(connection_test_run, "probe", fake)
    return fake


def editor(host: Host) -> str:
    return reverse("admin:hosts_host_change", args=[host.pk])


def url_of_test(host: Host) -> str:
    return reverse("admin:hosts_host_test", args=[host.pk])


def form_data(host: Host | None = None, **values: Any) -> dict[str, Any]:
    """What the editor submits, with the rows of the host's upstreams, or one new row."""
    stored = list(host.upstreams.all()) if host else []
    data = {
        "name": host.name if host else "orders",
        "domains": "orders.example.com",
        "enabled": "on",
        "load_balancing": "round_robin",
        "tested_upstreams": "first",
        "upstreams-TOTAL_FORMS": str(len(stored) or 1),
        "upstreams-INITIAL_FORMS": str(len(stored)),
    }
    configuration = UpstreamTLSConfiguration.objects.filter(host=host).first() if host else None
    if configuration is not None:
        data |= {"client_certificate": configuration.client_certificate, "server_name": configuration.server_name}
        data |= {"tls_enabled": "on"} if configuration.enabled else {}
    for number, upstream in enumerate(stored or [None]):
        data |= {
            f"upstreams-{number}-id": str(upstream.pk) if upstream else "",
            f"upstreams-{number}-host": str(host.pk) if host else "",
            f"upstreams-{number}-position": str(upstream.position) if upstream else "",
            f"upstreams-{number}-scheme": upstream.scheme if upstream else "https",
            f"upstreams-{number}-address": upstream.address if upstream else "10.0.0.7",
            f"upstreams-{number}-port": str(upstream.port) if upstream else "9443",
            f"upstreams-{number}-weight": "1",
            f"upstreams-{number}-enabled": "on",
        }
    return {**data, **values}


def press(client: Client, host: Host | None = None, **values: Any) -> Any:
    """Test Connection; no answer may hold a key."""
    response = client.post(url_of_test(host) if host else TEST_NEW, form_data(host, **values))
    assert not any(canary in response.content.decode() for canary in CANARIES)
    return response


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    text = response.content.decode()
    assert not any(canary in text for canary in CANARIES)
    return text


def sign_in(client: Client, *codenames: str) -> User:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return user


# Testing what stands in the form


def test_the_values_of_the_form_are_tested_and_not_saved(admin_client: Client, probe: FakeProbe) -> None:
    """With the pasted key and the changed upstream; the panel says that they are not saved."""
    host = make_host(upstream_tls=mtls())
    pair = {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    edited = {"server_name": "other.internal", "ca_certificate": CA.pem, "upstreams-0-address": "10.0.0.9"}
    response = press(admin_client, host, **pair, **edited)
    assert response.status_code == 200
    assert response.json()["poll_url"] is None
    assert "Works" in response.json()["summary"]
    assert "values that were not saved" in response.json()["html"]
    assert probe.specs[0].client_key_pem == OTHER_LEAF.key_pem.encode()
    assert (probe.specs[0].server_name, probe.targets[0].address) == ("other.internal", "10.0.0.9")
    host.refresh_from_db()
    assert (host.upstream_tls.server_name, host.upstreams.get().address) == ("", "10.0.0.7")
    test = ConnectionTest.objects.get()
    assert (test.host, test.job, test.is_of_saved_host) == (host, None, False)


def test_an_unchanged_form_tests_the_saved_host(admin_client: Client, probe: FakeProbe) -> None:
    """With the stored key, which the form does not have; the panel has no reservation."""
    host = make_host(upstream_tls=mtls(server_name="orders.internal"))
    html = press(admin_client, host).json()["html"]
    assert probe.specs[0].client_key_pem == LEAF.key_pem.encode()
    assert ConnectionTest.objects.get().is_of_saved_host
    assert "not saved" not in html


def test_a_host_is_tested_before_it_is_saved_for_the_first_time(admin_client: Client, probe: FakeProbe) -> None:
    """From the page that adds one; a name is not needed for it."""
    pair = {"tls_enabled": "on", "client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}
    response = press(admin_client, name="", domains="", **pair)
    assert response.status_code == 200, response.content
    assert probe.targets[0].address == "10.0.0.7"
    assert not Host.objects.exists()
    assert reverse("admin:hosts_host_test_new") in page(admin_client, ADD)


def test_the_first_or_all_upstreams(admin_client: Client, probe: FakeProbe) -> None:
    """In the order of the rows, without those marked for deletion, with a row that is new."""
    host = make_host(upstreams=tuple(UpstreamSpec(address=f"10.0.0.{last}", port=443) for last in (7, 8)))
    press(admin_client, host)
    assert [target.address for target in probe.targets] == ["10.0.0.7"]
    probe.targets.clear()
    press(admin_client, host, **{"upstreams-0-position": "5"})
    assert [target.address for target in probe.targets] == ["10.0.0.8"]
    probe.targets.clear()
    added = {"upstreams-TOTAL_FORMS": "3", "upstreams-2-scheme": "https", "upstreams-2-address": "10.0.0.9"}
    added |= {
        "upstreams-2-port": "443",
        "upstreams-2-weight": "1",
        "upstreams-2-enabled": "on",
        "upstreams-0-DELETE": "on",
    }
    html = press(admin_client, host, tested_upstreams="all", **added).json()["html"]
    assert sorted(target.address for target in probe.targets) == ["10.0.0.8", "10.0.0.9"]
    assert html.count("<article") == 2


def test_values_that_cannot_be_tested_are_shown_at_their_fields(admin_client: Client, probe: FakeProbe) -> None:
    """All at once, each with a link to its field; nothing is requested."""
    host = make_host(upstream_tls=mtls())
    bad = {"client_key": OTHER_LEAF.key_pem, "ca_certificate": "no PEM", "upstreams-0-address": "http://x"}
    response = press(admin_client, host, **bad)
    assert response.status_code == 400
    html = response.json()["html"]
    assert "Client Key : tls: private key does not match public key" in text_of(html)
    assert 'href="#id_client_key"' in html
    assert 'href="#id_ca_certificate"' in html
    assert "Upstream 1, address:" in html
    assert not ConnectionTest.objects.exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"upstreams-0-scheme": "http"}, "The upstream http://10.0.0.7:9443 is reached over plain HTTP"),
        ({"upstreams-0-DELETE": "on"}, "There is no enabled upstream to test."),
    ],
)
def test_without_tls_there_is_nothing_to_test(
    admin_client: Client, probe: FakeProbe, row: dict[str, str], said: str
) -> None:
    """And the panel says so."""
    response = press(admin_client, make_host(), **row)
    assert response.status_code == 409
    assert said in response.json()["html"]


# Progress


def test_the_progress_is_asked_for_until_the_test_is_over(
    admin_client: Client, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First "Testing" and where to look, then the result and nowhere to look."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    first = press(admin_client, make_host()).json()
    assert "Testing" in first["html"]
    assert admin_client.get(first["poll_url"]).json()["poll_url"] == first["poll_url"]
    run_connection_tests([str(ConnectionTest.objects.get().pk)])
    last = admin_client.get(first["poll_url"]).json()
    assert last["poll_url"] is None
    assert "status 200" in last["html"]


def test_without_a_worker_the_panel_says_so(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of waiting for ever."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    poll_url = press(admin_client, make_host()).json()["poll_url"]
    ConnectionTest.objects.update(created_at=timezone.now() - TAKEN_WITHIN)
    answer = admin_client.get(poll_url).json()
    assert answer["poll_url"] is None
    assert "No Celery worker took the test" in answer["html"]


def test_only_who_asked_sees_the_progress(admin_client: Client, client: Client, probe: FakeProbe) -> None:
    """It may be about values that nobody else has; unknown batches and POST are refused."""
    press(admin_client, make_host())
    url = reverse("admin:hosts_connection_tests", args=[ConnectionTest.objects.get().batch])
    assert admin_client.get(url).status_code == 200
    assert admin_client.post(url).status_code == 405
    assert admin_client.get(reverse("admin:hosts_connection_tests", args=[uuid.uuid4()])).status_code == 404
    sign_in(client, "change_host", "view_host")
    assert client.get(url).status_code == 404


# Who may


@pytest.mark.parametrize(
    ("codenames", "on_stored", "on_new"),
    [
        ((), 403, 403),
        (("view_host",), 403, 403),
        (("add_host",), 403, 403),
        (("change_host",), 200, 403),
        (("change_host", "add_host"), 200, 200),
    ],
)
def test_who_may_test(
    client: Client, probe: FakeProbe, codenames: tuple[str, ...], on_stored: int, on_new: int
) -> None:
    """Who may change hosts; for a new one who may add it as well."""
    host = make_host()
    sign_in(client, *codenames)
    assert press(client, host).status_code == on_stored
    assert press(client).status_code == on_new


def test_a_test_is_a_post_with_a_token_by_a_person_who_signed_in(probe: FakeProbe, admin_user: User) -> None:
    """Neither a link nor another site can have one made."""
    host = make_host()
    assert Client().post(url_of_test(host), form_data(host)).headers["Location"].startswith("/admin/login/")
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(url_of_test(host), form_data(host)).status_code == 403
    assert client.get(url_of_test(host)).status_code == 405
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page(client, editor(host)))
    assert token is not None
    assert client.post(url_of_test(host), form_data(host, csrfmiddlewaretoken=token[1])).status_code == 200
    assert len(probe.targets) == 1
    unknown = reverse("admin:hosts_host_test", args=[uuid.uuid4()])
    assert client.post(unknown, form_data(csrfmiddlewaretoken=token[1])).status_code == 404


# Save & test


@pytest.mark.parametrize("is_new", [True, False])
def test_save_and_test_tests_what_was_saved(admin_client: Client, probe: FakeProbe, is_new: bool) -> None:
    """Inlines too; back in the editor the result is there, without any script."""
    host = None if is_new else make_host()
    url = ADD if host is None else editor(host)
    response = admin_client.post(url, form_data(host, **{SAVE_AND_TEST: "", "upstreams-0-address": "10.0.0.9"}))
    saved = Host.objects.get()
    assert response.headers["Location"] == editor(saved) + "#connection-test"
    assert probe.targets[0].address == "10.0.0.9"
    assert ConnectionTest.objects.get().is_of_saved_host
    text = page(admin_client, editor(saved))
    assert "status 200" in text
    assert "data-poll-url" not in text
    assert "changed since" not in text


def test_save_and_test_waits_unless_the_page_does(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser with the script gets the editor at once and looks from there."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    host = make_host()
    response = admin_client.post(editor(host), form_data(host, **{SAVE_AND_TEST: "", "shows_progress": "1"}))
    assert response.status_code == 302
    test = ConnectionTest.objects.get()
    assert not test.is_over
    assert f'data-poll-url="{reverse("admin:hosts_connection_tests", args=[test.batch])}"' in page(
        admin_client, editor(host)
    )


def test_save_and_test_of_a_plain_host_saves_and_says_why_not(admin_client: Client, probe: FakeProbe) -> None:
    """As a warning on the page."""
    host = make_host()
    data = form_data(host, **{SAVE_AND_TEST: "", "upstreams-0-scheme": "http"})
    response = admin_client.post(editor(host), data, follow=True)
    assert "reached over plain HTTP" in response.content.decode()
    assert host.upstreams.get().scheme == "http"
    assert not ConnectionTest.objects.exists()


def test_nothing_is_tested_when_nothing_is_saved(admin_client: Client, probe: FakeProbe) -> None:
    """The errors of the form come first."""
    host = make_host()
    assert admin_client.post(editor(host), form_data(host, **{SAVE_AND_TEST: "", "name": ""})).status_code == 200
    assert not ConnectionTest.objects.exists()


# What the pages show


def test_the_editor_opens_with_the_last_result(admin_client: Client, probe: FakeProbe) -> None:
    """With its time, and a word when the host was changed since."""
    probe.answer = failure
    host = make_host()
    assert 'class="ct-card"' not in page(admin_client, editor(host))
    press(admin_client, host)
    text = page(admin_client, editor(host))
    assert "x509: certificate signed by unknown authority" in text
    assert "changed since" not in text
    host.save()
    assert "The host has been changed since this test." in page(admin_client, editor(host))


def test_a_viewer_sees_the_result_and_no_button(client: Client, probe: FakeProbe) -> None:
    """Neither Test Connection nor Save & test."""
    host = make_host()
    sign_in(client, "view_host")
    assert "Never tested." in page(client, editor(host))
    run_connection_tests([str(test) for test in _requested(host)])
    text = page(client, editor(host))
    assert "status 200" in text
    assert "data-ct-run" not in text
    assert SAVE_AND_TEST not in text


def test_the_list_says_when_and_how_the_last_test_ended(admin_client: Client, probe: FakeProbe) -> None:
    """OK, the code, or never; the same number of queries for any number of hosts."""
    make_host("never")
    for name, answer in (("good", probe.answer), ("bad", failure)):
        probe.answer = answer
        press(admin_client, make_host(name))
    ConnectionTest.objects.update(finished_at=timezone.now() - datetime.timedelta(hours=2))
    text = text_of(page(admin_client, LIST)).replace("\xa0", " ")
    for shown in ("OK 2 hours ago", "unknown_authority 2 hours ago", "never"):
        assert shown in text

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(admin_client, LIST)
        return len(queries)

    few = count()
    for number in range(5):
        press(admin_client, make_host(f"host{number}"))
    assert count() == few


def _requested(host: Host) -> list[uuid.UUID]:
    batch = request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    return list(ConnectionTest.objects.filter(batch=batch).values_list("pk", flat=True))
