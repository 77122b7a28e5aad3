"""POST /api/v1/what-if."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from hosts import connection_tests
from hosts.models import ConnectionTest, Host
from hosts.services import install_issued_certificate
from hosts.tasks import run_connection_tests
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from tests.hosts.zoo_hosts import host_before
from upstream_tls.zoo.running import Running, run_zoo

# Commits for real, because the work is queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

TLS_1_3 = {"min_version": "TLSv1.3"}
CANARIES = [leaf.key_pem.splitlines()[1] for leaf in (LEAF, OTHER_LEAF)]


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Running]]:
    with run_zoo(["good", "only-tls-12"]) as running:
        yield running


def ask(client: Client, document: Any, path: str = "/api/v1/what-if") -> Any:
    response = client.post(path, document, content_type="application/json")
    assert not any(canary in response.content.decode() for canary in CANARIES)
    return response


def test_the_answer(admin_client: Client, zoo: dict[str, Running]) -> None:
    """Counts, then the hosts, what breaks first, each upstream with both tests in short."""
    old = host_before(zoo["only-tls-12"], name="old")
    host_before(zoo["good"], name="new")
    response = ask(admin_client, {"change": TLS_1_3}, "/api/v1/what-if/")
    assert response.status_code == 200, response.content
    document = response.json()
    counts = ("breaks", "works", "already_failing", "not_tested")
    assert [document[name] for name in counts] == [1, 1, 0, 0]
    assert (document["kind"], document["tested"], document["is_complete"]) == ("min_version", True, True)
    assert [host["name"] for host in document["hosts"]] == ["old", "new"]
    first = document["hosts"][0]
    assert first["url"].endswith(f"/api/v1/hosts/{old.pk}")
    (upstream,) = first["upstreams"]
    assert (upstream["verdict"], upstream["code"]) == ("breaks", "protocol_version")
    assert (upstream["now"]["success"], upstream["now"]["tls_version"]) == (True, "TLSv1.2")
    assert (upstream["then"]["success"], upstream["then"]["code"]) == (False, "protocol_version")
    assert upstream["then"]["fix"]


def test_a_new_certificate_is_tried_and_not_kept(admin_client: Client, zoo: dict[str, Running]) -> None:
    """Its key, encrypted here, is in no answer and in no row."""
    host = host_before(zoo["good"])
    replacement = {
        "host": str(host.pk),
        "client_certificate": LEAF.chain_pem,
        "client_key": LEAF.encrypted_key_pem("open sesame"),
        "passphrase": "open sesame",
    }
    response = ask(admin_client, {"change": {"replace_certificate": replacement}})
    assert response.status_code == 200, response.content
    assert response.json()["hosts"][0]["upstreams"][0]["code"] == "client_certificate_untrusted"
    assert "open sesame" not in response.content.decode()
    assert not ConnectionTest.objects.exclude(job=None).exists()


def test_a_revocation_says_that_it_was_not_tested(admin_client: Client) -> None:
    """Who presents the certificate is all that can be known."""
    ensure_authority()
    record = install_issued_certificate(host=make_host(), user=None)
    response = ask(admin_client, {"change": {"revoke_certificate": {"serial_number": record.serial_number}}})
    document = response.json()
    assert (document["tested"], document["is_complete"], document["not_tested"]) == (False, False, 1)
    assert document["hosts"][0]["upstreams"] == []
    assert "has no other" in document["hosts"][0]["note"]


NOBODY = str(uuid.UUID(int=1))


@pytest.mark.parametrize(
    ("document", "field", "code"),
    [
        ({}, "change", "required"),
        ({"change": {}}, "change", "one_change"),
        ({"change": {**TLS_1_3, "ca_certificate": CA.pem}}, "change", "one_change"),
        ({"change": {"max_version": "TLSv1.2"}}, "change.max_version", "unknown_field"),
        ({"change": {"min_version": "SSLv3"}}, "change.min_version", "invalid_choice"),
        ({"change": {"min_version": "\x00"}}, "change.min_version", "null_characters_not_allowed"),
        ({"change": {"ca_certificate": "no PEM"}}, "change.ca_certificate", "bad_pem"),
        ({"change": TLS_1_3, "hosts": []}, "hosts", "min_length"),
        ({"change": TLS_1_3, "hosts": [NOBODY]}, "hosts[0]", "unknown_host"),
        ({"change": TLS_1_3, "hosts": ["x"]}, "hosts[0]", "invalid"),
        (
            {"change": {"remove_ca_certificate": {"fingerprint_sha256": "ab"}}},
            "change.remove_ca_certificate.fingerprint_sha256",
            "invalid",
        ),
        (
            {"change": {"remove_ca_certificate": {"fingerprint_sha256": "ab" * 32}}},
            "change.remove_ca_certificate.fingerprint_sha256",
            "unknown_certificate",
        ),
        (
            {"change": {"revoke_certificate": {"serial_number": "ab"}}},
            "change.revoke_certificate.serial_number",
            "unknown_certificate",
        ),
        ({"change": {"replace_certificate": {}}}, "change.replace_certificate", "one_of_two"),
        (
            {"change": {"replace_certificate": {"host": NOBODY}}, "hosts": [NOBODY]},
            "hosts",
            "host_and_hosts",
        ),
        ({"change": {"replace_certificate": {"host": NOBODY}}}, "change.replace_certificate.host", "unknown_host"),
    ],
)
def test_what_cannot_be_asked_is_named(admin_client: Client, document: Any, field: str, code: str) -> None:
    """By its path, and nothing is tested."""
    make_host(upstream_tls=mtls(ca_certificate=CA.pem))
    response = ask(admin_client, document)
    assert response.status_code == 400, response.content
    (error,) = response.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert not ConnectionTest.objects.exists()


def test_a_pair_that_does_not_fit(admin_client: Client) -> None:
    """At the key, as in the host itself."""
    host = make_host()
    pair = {"client_certificate": LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    response = ask(admin_client, {"change": {"replace_certificate": {"host": str(host.pk), **pair}}})
    (error,) = response.json()["errors"]
    assert (error["field"], error["code"]) == ("change.replace_certificate.client_key", "key_mismatch")


def test_without_a_worker(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, which says so."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    monkeypatch.setattr(connection_tests, "TAKEN_WITHIN", connection_tests.TAKEN_WITHIN / 10)
    make_host()
    response = ask(admin_client, {"change": TLS_1_3})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "no_worker")


@pytest.mark.parametrize(
    ("codenames", "expected"),
    [((), 403), (("view_host",), 403), (("change_host",), 403), (("change_host", "view_host"), 200)],
)
def test_who_may_ask(client: Client, codenames: tuple[str, ...], expected: int) -> None:
    """Who may run tests; nobody without a session or token."""
    assert ask(client, {"change": TLS_1_3}).status_code == 401
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    assert ask(client, {"change": TLS_1_3}).status_code == expected
    assert not Host.objects.exists()
