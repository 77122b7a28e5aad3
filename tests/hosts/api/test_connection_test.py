"""POST /api/v1/hosts/{id}/test-upstream-tls."""

import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from aegis_site.kernel.fields import Sealed
from hosts import connection_test_run, connection_tests
from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from hosts.tasks import run_connection_tests
from tests.hosts.connection_examples import FakeProbe, failure
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from upstream_tls.models import UpstreamTLSConfiguration

# Commits for real, because the work is queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

CANARIES = [leaf.key_pem.splitlines()[1] for leaf in (LEAF, OTHER_LEAF)]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> FakeProbe:
    fake = FakeProbe()
    monkeypatch.setattr(connection_test_run, "probe", fake)
    return fake


def ask(client: Client, host: Host, document: Any = None, **headers: str) -> Any:
    url = f"/api/v1/hosts/{host.pk}/test-upstream-tls"
    response = client.post(url, document or {}, content_type="application/json", headers=headers)
    assert not any(canary in response.content.decode() for canary in CANARIES)
    return response


def problem_of(response: Any, status: int) -> tuple[str, str, str]:
    """Field, code and message of the one error of a problem document."""
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    (error,) = response.json()["errors"]
    return error["field"], error["code"], error["message"]


def two_upstreams() -> Host:
    return make_host(
        upstreams=(UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="10.0.0.8", port=443))
    )


def test_a_test_answers_with_its_result(admin_client: Client, probe: FakeProbe) -> None:
    """The first upstream, as saved; the document is the API's."""
    host = make_host(upstream_tls=mtls())
    response = ask(admin_client, host)
    assert response.status_code == 200
    document = response.json()
    assert set(document) == {
        "success",
        "upstream",
        "tested_at",
        "duration_ms",
        "timeout_s",
        "stages",
        "tls",
        "http",
        "chain",
        "offered_anchor_pem",
        "verified",
        "error",
        "warnings",
    }
    upstream = host.upstreams.get()
    assert document["upstream"] == {
        "id": str(upstream.pk),
        "address": "10.0.0.7",
        "port": 9443,
        "server_name": "orders.internal",
    }
    assert document["stages"] == {"dns_ms": 0, "tcp_ms": 1, "tls_ms": 12, "first_byte_ms": 3}
    assert ConnectionTest.objects.get().is_of_saved_host


def test_a_failed_handshake_is_200_too(admin_client: Client, probe: FakeProbe) -> None:
    """The test ran; what came of it is in the document."""
    probe.answer = failure
    response = ask(admin_client, make_host())
    assert response.status_code == 200
    assert response.json()["success"] is False
    assert response.json()["error"]["code"] == "unknown_authority"


def test_the_upstreams_to_test(admin_client: Client, probe: FakeProbe) -> None:
    """The first, the named one, or all with their results in a list."""
    host = two_upstreams()
    second = host.upstreams.get(address="10.0.0.8")
    assert ask(admin_client, host).json()["upstream"]["address"] == "10.0.0.7"
    assert ask(admin_client, host, {"upstream": str(second.pk)}).json()["upstream"]["id"] == str(second.pk)
    assert ask(admin_client, host, {"all": False}).json()["upstream"]["address"] == "10.0.0.7"
    results = ask(admin_client, host, {"all": True}).json()["results"]
    assert {result["upstream"]["address"] for result in results} == {"10.0.0.7", "10.0.0.8"}


def test_a_candidate_is_tested_and_not_saved(admin_client: Client, probe: FakeProbe) -> None:
    """What is absent keeps the stored value, the key too; the row keeps no key."""
    host = make_host(upstream_tls=mtls())
    response = ask(admin_client, host, {"upstream_tls": {"server_name": "Other.Internal", "ca_certificate": CA.pem}})
    assert response.status_code == 200
    assert probe.specs[0].server_name == "other.internal"
    assert probe.specs[0].client_key_pem == LEAF.key_pem.encode()
    pair = {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    assert ask(admin_client, host, {"upstream_tls": pair}).status_code == 200
    assert probe.specs[1].client_key_pem == OTHER_LEAF.key_pem.encode()
    stored = UpstreamTLSConfiguration.objects.get()
    assert (stored.server_name, stored.ca_certificate) == ("", "")
    assert stored.client_key is not None
    assert stored.client_key.reveal() == LEAF.key_pem.encode()
    assert [test.is_of_saved_host for test in ConnectionTest.objects.all()] == [False, False]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM hosts_connectiontest")
        rows = repr(cursor.fetchall())
    assert not any(canary in rows for canary in CANARIES)
    assert not ConnectionTest.objects.exclude(job=None).exists()


def test_the_queue_gets_ids_only(admin_client: Client, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor certificates."""
    messages: list[Any] = []

    def delay(test_ids: list[str]) -> None:
        messages.append(test_ids)
        run_connection_tests(test_ids)

    monkeypatch.setattr(run_connection_tests, "delay", delay)
    assert ask(admin_client, make_host(upstream_tls=mtls())).status_code == 200
    assert messages == [[str(ConnectionTest.objects.get().pk)]]


@pytest.mark.parametrize(
    ("document", "field", "code"),
    [
        ({"upstream": str(uuid.uuid4())}, "upstream", "unknown_upstream"),
        ({"upstream": "first"}, "upstream", "invalid"),
        ({"upstream": str(uuid.uuid4()), "all": True}, "upstream", "upstream_and_all"),
        ({"upstreams": []}, "upstreams", "unknown_field"),
        ({"upstream_tls": {"client_key": OTHER_LEAF.key_pem}}, "upstream_tls.client_key", "key_mismatch"),
        ({"upstream_tls": {"ca_certificate": "no PEM"}}, "upstream_tls.ca_certificate", "bad_pem"),
        ({"upstream_tls": {"servername": "a"}}, "upstream_tls.servername", "unknown_field"),
    ],
)
def test_what_cannot_be_tested_is_named(
    admin_client: Client, probe: FakeProbe, document: dict[str, Any], field: str, code: str
) -> None:
    """By its path, as in PATCH, and nothing is requested."""
    host = make_host(upstream_tls=mtls())
    assert problem_of(ask(admin_client, host, document), 400)[:2] == (field, code)
    assert not ConnectionTest.objects.exists()


def test_without_tls_there_is_no_test(admin_client: Client, probe: FakeProbe) -> None:
    """409: the host would have to change first."""
    plain = make_host("plain", upstreams=(UpstreamSpec(scheme="http", address="10.0.0.7", port=80),))
    empty = make_host("empty", upstreams=())
    assert problem_of(ask(admin_client, plain), 409)[1] == "upstream_without_tls"
    assert problem_of(ask(admin_client, plain, {"all": True}), 409)[1] == "upstream_without_tls"
    assert problem_of(ask(admin_client, empty), 409)[1] == "no_upstream"


def test_without_a_worker_the_answer_comes_soon(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, which says so, in about two and a half seconds; the sealed key is gone with the test."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    begun = time.monotonic()
    field, code, message = problem_of(ask(admin_client, make_host(upstream_tls=mtls())), 503)
    assert 2.4 < time.monotonic() - begun < 8
    assert (field, code) == ("", "no_worker")
    assert "No Celery worker took the test" in message
    assert not ConnectionTest.objects.exclude(job=None).exists()


def test_a_worker_that_dies_is_noticed(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 as well, with another reason."""
    started = {"state": "running", "started_at": timezone.now()}
    monkeypatch.setattr(connection_tests, "ANSWER_WITHIN", connection_tests.TAKEN_WITHIN / 10)
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: ConnectionTest.objects.update(**started))
    assert problem_of(ask(admin_client, make_host()), 503)[1] == "test_not_finished"


def test_a_stored_key_that_does_not_open_is_an_error(admin_client: Client, probe: FakeProbe) -> None:
    """503 with the reason, as elsewhere in the API."""
    host = make_host(upstream_tls=mtls())
    configuration = UpstreamTLSConfiguration.objects.get()
    foreign = Sealed.of("another row's").sealed_for(b"elsewhere")
    UpstreamTLSConfiguration.objects.filter(pk=configuration.pk).update(client_key=foreign.blob)
    assert ask(admin_client, host).status_code == 503
    assert probe.specs == []


@pytest.mark.parametrize(
    ("codenames", "expected"),
    [
        ((), 403),
        (("view_host",), 403),
        (("add_host", "view_host"), 403),
        (("change_host",), 403),
        (("change_host", "view_host"), 200),
    ],
)
def test_who_may_test(client: Client, probe: FakeProbe, codenames: tuple[str, ...], expected: int) -> None:
    """Who may change the host; viewers may not."""
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    assert ask(client, make_host()).status_code == expected


def test_a_session_needs_a_csrf_token(probe: FakeProbe, admin_user: User) -> None:
    """Another site cannot have a test made; nobody at all is asked to sign in."""
    client = Client(enforce_csrf_checks=True)
    host = make_host()
    assert ask(client, host).status_code == 401
    client.force_login(admin_user)
    assert ask(client, host).status_code == 403
    assert probe.specs == []


def test_the_path(admin_client: Client, probe: FakeProbe) -> None:
    """With and without a trailing slash; unknown hosts and other methods are refused."""
    host = make_host()
    with_slash = admin_client.post(f"/api/v1/hosts/{host.pk}/test-upstream-tls/", {}, content_type="application/json")
    assert with_slash.status_code == 200
    assert admin_client.get(f"/api/v1/hosts/{host.pk}/test-upstream-tls").status_code == 405
    assert ask(admin_client, Host()).status_code == 404
