"""Issued certificates in the HTTP API: issued, renewed, revoked, forgotten and found; who may, and who gets the key."""

import base64
import datetime
import json
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from localca.keys import KeyType
from localca.models import IssuedCertificate, RevocationReason
from localca.revocation import current_list, refresh_lists, revoke_certificate
from localca.services import ensure_authority, issue_client_certificate, issue_server_certificate
from tests.support.signing_requests import signing_request

pytestmark = pytest.mark.django_db

PATH = "/api/v1/certificates"
DAY = datetime.timedelta(days=1)
CLIENT_ORDER = {"purpose": "client", "common_name": "orders", "include_private_key": True}


def post(client: Client, path: str, document: Any, **headers: str) -> HttpResponse:
    return client.post(path, json.dumps(document), content_type="application/json", headers=headers)  # type: ignore[return-value]


def issued(client: Client, **changes: Any) -> dict[str, Any]:
    response = post(client, PATH, CLIENT_ORDER | changes)
    assert response.status_code == 201, response.content
    document: dict[str, Any] = json.loads(response.content)
    return document


def problems(response: HttpResponse) -> dict[str, str]:
    """Field to code."""
    assert response["Content-Type"] == "application/problem+json"
    return {error["field"]: error["code"] for error in json.loads(response.content)["errors"]}


def codes(response: HttpResponse) -> tuple[int, str]:
    return response.status_code, problems(response)[""]


def user_with(client: Client, *codenames: str) -> Client:
    user = User.objects.create_user("someone")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def test_issuing_with_the_private_key(admin_client: Client) -> None:
    """The answer has certificate, facts and key, is not to be cached, and the key is in no later answer."""
    response = post(admin_client, PATH, CLIENT_ORDER | {"common_name": "orders.internal", "issued_for": "the shop"})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    document = json.loads(response.content)
    assert response["Location"] == document["url"] == f"http://testserver{PATH}/{document['id']}"
    leaf = x509.load_pem_x509_certificate(document["chain"].encode())
    key = load_pem_private_key(document.pop("private_key").encode(), password=None)
    assert key.public_key() == leaf.public_key()
    assert document["certificate"] == document["chain"]
    assert document["subject_alt_names"] == ["DNS:orders.internal"]
    expected = {
        "purpose": "client",
        "status": "valid",
        "subject": "CN=orders.internal",
        "issuer": f"CN={ensure_authority()}",
        "key_type": "EC P-256",
        "key_bits": 256,
        "issued_for": "the shop",
        "revoked_at": None,
        "revocation_reason": None,
        "renewed_from": None,
        "renewed_by": None,
    }
    assert {name: document[name] for name in expected} == expected
    shown = admin_client.get(f"{PATH}/{document['id']}")
    assert shown.json() == document
    assert b"PRIVATE KEY" not in shown.content + admin_client.get(PATH).content
    entry = AuditEntry.objects.get(action="issued")
    assert (entry.user_name, entry.target_type, entry.target_id) == ("admin", "certificate", document["id"])
    assert "PRIVATE KEY" not in str(entry.changes)


@pytest.mark.parametrize("key_type", KeyType)
def test_types_of_keys(admin_client: Client, key_type: KeyType) -> None:
    """Every type can be issued, is proved, and its key fits."""
    document = issued(admin_client, key_type=key_type)
    key = load_pem_private_key(document["private_key"].encode(), password=None)
    assert key.public_key() == x509.load_pem_x509_certificate(document["chain"].encode()).public_key()
    assert f"{document['key_type']} {document['key_bits']}".startswith(str(key_type))


def test_an_encrypted_key(admin_client: Client) -> None:
    """With a passphrase the PEM is encrypted and opens with it alone."""
    pem = issued(admin_client, passphrase=" pässphrase ")["private_key"]
    assert pem.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert load_pem_private_key(pem.encode(), password=" pässphrase ".encode())


def test_pkcs12(admin_client: Client) -> None:
    """A PKCS#12 file brings certificate and key, and no key stands beside it."""
    document = issued(admin_client, format="pkcs12", passphrase="correct horse 🐎")
    assert "private_key" not in document
    content = pkcs12.load_pkcs12(base64.b64decode(document["pkcs12"]), "correct horse 🐎".encode())
    assert content.cert is not None
    assert content.key is not None
    assert content.cert.certificate.public_key() == content.key.public_key()


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["EC", "RSA"]
)
def test_a_signing_request(admin_client: Client, key: Any) -> None:
    """Its key is certified under the names of the order; what else it asks for, names included, does not count."""
    csr = signing_request(key, names=[x509.DNSName("evil.example.com")])
    document = issued(admin_client, csr=csr, include_private_key=False)
    assert "private_key" not in document
    leaf = x509.load_pem_x509_certificate(document["certificate"].encode())
    assert leaf.public_key() == key.public_key()
    assert (document["subject"], document["subject_alt_names"]) == ("CN=orders", ["DNS:orders"])
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_names_of_a_signing_request(admin_client: Client) -> None:
    """Taken when asked for, and only where the order says nothing."""
    names = [x509.DNSName("a.example.com"), x509.UniformResourceIdentifier("spiffe://example.com/a")]
    order = {"purpose": "client", "csr": signing_request(names=names), "names_from_csr": True}
    document = json.loads(post(admin_client, PATH, order).content)
    assert document["subject"] == "CN=from csr"
    assert document["subject_alt_names"] == ["DNS:a.example.com", "URI:spiffe://example.com/a"]
    document = json.loads(post(admin_client, PATH, order | {"subject_alt_names": ["IP:10.0.0.1"]}).content)
    assert document["subject_alt_names"] == ["IP:10.0.0.1"]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"purpose": "both"}, {"purpose": "invalid_choice"}),
        ({"common_name": ""}, {"common_name": "required"}),
        ({"common_name": "x" * 65}, {"common_name": "max_length"}),
        ({"common_name": "a\x00b"}, {"common_name": "null_characters_not_allowed"}),
        ({"common_name": "\ud800"}, {"common_name": "surrogate_characters_not_allowed"}),
        ({"common_name": "a\nb"}, {"common_name": "invalid"}),
        ({"purpose": "server"}, {"subject_alt_names": "required"}),
        ({"purpose": "server", "subject_alt_names": ["URI:a:b"]}, {"subject_alt_names": "invalid"}),
        ({"subject_alt_names": ["DNS:a b"]}, {"subject_alt_names": "invalid"}),
        ({"subject_alt_names": ["URI:no scheme"]}, {"subject_alt_names": "invalid"}),
        ({"subject_alt_names": ["URI:http://[x"]}, {"subject_alt_names": "invalid"}),
        ({"subject_alt_names": ["x" * 3000]}, {"subject_alt_names[0]": "max_length"}),
        ({"subject_alt_names": ["DNS:a"] * 101}, {"subject_alt_names": "max_length"}),
        ({"subject_alt_names": "DNS:a"}, {"subject_alt_names": "not_a_list"}),
        ({"validity_days": 0}, {"validity_days": "min_value"}),
        ({"validity_days": 826}, {"validity_days": "max_value"}),
        ({"validity_days": 10**400}, {"validity_days": "max_value"}),
        ({"key_type": "RSA 1024"}, {"key_type": "invalid_choice"}),
        ({"issued_for": "x" * 256}, {"issued_for": "max_length"}),
        ({"issued_for": "a\nb"}, {"issued_for": "invalid"}),
        ({"include_private_key": False}, {"include_private_key": "required"}),
        (
            {"include_private_key": False, "passphrase": "x" * 8},
            {"include_private_key": "required", "passphrase": "without_key"},
        ),
        ({"passphrase": "short"}, {"passphrase": "min_length"}),
        ({"format": "pkcs12"}, {"passphrase": "required"}),
        ({"format": "jks"}, {"format": "invalid_choice"}),
        ({"names_from_csr": True}, {"names_from_csr": "without_csr"}),
        ({"csr": signing_request()}, {"include_private_key": "csr_has_key"}),
        ({"csr": signing_request(), "include_private_key": False, "key_type": "Ed25519"}, {"key_type": "csr_has_key"}),
        ({"csr": "nonsense", "include_private_key": False}, {"csr": "bad_pem"}),
        ({"csr": "x" * 70000, "include_private_key": False}, {"csr": "max_length"}),
        ({"serial": 1}, {"serial": "unknown_field"}),
    ],
)
def test_orders_that_cannot_be_met(admin_client: Client, changes: dict[str, Any], errors: dict[str, str]) -> None:
    """400 at the field; nothing is issued."""
    response = post(admin_client, PATH, CLIENT_ORDER | changes)
    assert response.status_code == 400
    assert problems(response) == errors
    assert not IssuedCertificate.objects.exists()


@pytest.mark.parametrize("document", [None, [], "x", 1, {}, {"purpose": {}}])
def test_documents_that_are_no_orders(admin_client: Client, document: Any) -> None:
    """400, whatever was sent."""
    assert post(admin_client, PATH, document).status_code == 400


def test_revoking(admin_client: Client) -> None:
    """The answer is the revoked certificate; the public list names it at once; a second time is 409."""
    document = issued(admin_client)
    response = post(admin_client, f"{PATH}/{document['id']}/revoke", {"reason": "keyCompromise"})
    assert response.status_code == 200
    revoked = json.loads(response.content)
    assert (revoked["status"], revoked["revocation_reason"]) == ("revoked", "keyCompromise")
    listed = x509.load_der_x509_crl(Client().get("/api/v1/ca/crl").content)
    assert listed.get_revoked_certificate_by_serial_number(int(document["serial_number"], 16)) is not None
    again = post(admin_client, f"{PATH}/{document['id']}/revoke", {"reason": "superseded"})
    assert codes(again) == (409, "already_revoked")


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ({}, {"reason": "required"}),
        ({"reason": "certificateHold"}, {"reason": "invalid_choice"}),
        ({"reason": "removeFromCRL"}, {"reason": "invalid_choice"}),
        ({"reason": "superseded", "at": "now"}, {"at": "unknown_field"}),
    ],
)
def test_reasons(admin_client: Client, document: dict[str, Any], errors: dict[str, str]) -> None:
    """A reason is needed, and a revocation is never on hold or taken back."""
    certificate = issue_client_certificate(common_name="orders").record
    response = post(admin_client, f"{PATH}/{certificate.pk}/revoke", document)
    assert response.status_code == 400
    assert problems(response) == errors
    assert IssuedCertificate.objects.get().status == "valid"


def test_renewing(admin_client: Client) -> None:
    """The successor says the same for another key, the two are linked, both are valid, and there is one successor."""
    order = {"validity_days": 30, "key_type": "EC P-384", "subject_alt_names": ["DNS:a", "URI:spiffe://x/y"]}
    old = issued(admin_client, **order)
    response = post(admin_client, f"{PATH}/{old['id']}/renew", {"include_private_key": True})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    new = json.loads(response.content)
    for name in ("purpose", "subject", "subject_alt_names", "key_type", "issued_for"):
        assert new[name] == old[name]
    leaf = x509.load_pem_x509_certificate(new["certificate"].encode())
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == 30 * DAY + datetime.timedelta(minutes=5)
    assert load_pem_private_key(new["private_key"].encode(), password=None).public_key() == leaf.public_key()
    assert new["private_key"] != old["private_key"]
    assert new["renewed_from"] == old["id"]
    shown = admin_client.get(f"{PATH}/{old['id']}").json()
    assert (shown["renewed_by"], shown["status"]) == (new["id"], "valid")
    again = post(admin_client, f"{PATH}/{old['id']}/renew", {"include_private_key": True})
    assert codes(again) == (409, "already_renewed")


def test_renewing_for_a_signing_request(admin_client: Client) -> None:
    """The key of the request is certified under the old names; the old key is refused, for that would be no renewal."""
    key = ec.generate_private_key(ec.SECP256R1())
    old = issued(admin_client, csr=signing_request(key), include_private_key=False)
    path = f"{PATH}/{old['id']}/renew"
    assert problems(post(admin_client, path, {"csr": signing_request(key)})) == {"csr": "same_key"}
    new = json.loads(post(admin_client, path, {"csr": signing_request()}).content)
    assert (new["subject"], new["renewed_from"]) == ("CN=orders", old["id"])


def test_renewing_and_revoking_at_once(admin_client: Client) -> None:
    """With `revoke_old` the old certificate is on the list before the new one is out."""
    old = issued(admin_client)
    document = {"include_private_key": True, "revoke_old": True}
    assert post(admin_client, f"{PATH}/{old['id']}/renew", document).status_code == 201
    shown = admin_client.get(f"{PATH}/{old['id']}").json()
    assert (shown["status"], shown["revocation_reason"]) == ("revoked", "superseded")


def test_what_is_not_renewed(admin_client: Client) -> None:
    """A revoked certificate has no successor, and a renewal that nobody could use is refused at the field."""
    certificate = issue_client_certificate(common_name="orders").record
    path = f"{PATH}/{certificate.pk}/renew"
    assert problems(post(admin_client, path, {})) == {"include_private_key": "required"}
    revoke_certificate(certificate=certificate, reason=RevocationReason.SUPERSEDED, user=None)
    assert codes(post(admin_client, path, {"include_private_key": True})) == (409, "certificate_revoked")


def test_forgetting(admin_client: Client) -> None:
    """A valid certificate is kept; an expired one is forgotten, and the audit log remembers it."""
    certificate = issue_client_certificate(common_name="orders").record
    path = f"{PATH}/{certificate.pk}"
    refused = admin_client.delete(path)
    assert codes(refused) == (409, "certificate_valid")
    assert "never be revoked" in refused.json()["detail"]
    with time_machine.travel(certificate.not_after, tick=False):
        admin_client.force_login(User.objects.get())
        assert admin_client.delete(path).status_code == 204
        assert admin_client.get(path).status_code == 404
    assert AuditEntry.objects.get(action="deleted").target_name == "CN=orders"


def test_forgetting_a_revoked_one(admin_client: Client) -> None:
    """It stays until a list past its end has named it."""
    certificate = issue_client_certificate(common_name="orders").record
    revoke_certificate(certificate=certificate, reason=RevocationReason.SUPERSEDED, user=None)
    path = f"{PATH}/{certificate.pk}"
    assert codes(admin_client.delete(path)) == (409, "certificate_on_crl")
    with time_machine.travel(certificate.not_after + DAY, tick=False):
        admin_client.force_login(User.objects.get())
        assert codes(admin_client.delete(path)) == (409, "certificate_on_crl")
        refresh_lists()
        assert admin_client.delete(path).status_code == 204
        refresh_lists()
        assert len(current_list(ensure_authority()).revocation_list) == 1


def test_forgetting_what_was_changed_meanwhile(admin_client: Client) -> None:
    """If-Match with the ETag of another state: 412."""
    certificate = issue_client_certificate(common_name="orders").record
    path = f"{PATH}/{certificate.pk}"
    etag = admin_client.get(path)["ETag"]
    revoke_certificate(certificate=certificate, reason=RevocationReason.SUPERSEDED, user=None)
    assert admin_client.delete(path, headers={"If-Match": etag}).status_code == 412


def test_a_ca_whose_key_does_not_open(admin_client: Client, settings: Any) -> None:
    """503 with a code for whatever has to be signed; reading goes on."""
    certificate = issue_client_certificate(common_name="orders").record
    settings.AEGIS_SSL_KEY = "2e" * 32
    path = f"{PATH}/{certificate.pk}"
    wants_key = {"include_private_key": True}
    for response in (
        post(admin_client, PATH, CLIENT_ORDER),
        post(admin_client, f"{path}/revoke", {"reason": "superseded"}),
        post(admin_client, f"{path}/renew", wants_key),
    ):
        assert codes(response) == (503, "secret_other_key")
    assert admin_client.get(path).json()["status"] == "valid"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["orders", "lost", "upstream", "old"]),
        ("purpose=server", ["upstream"]),
        ("status=valid", ["orders", "upstream"]),
        ("status=revoked", ["lost"]),
        ("status=expired", ["old"]),
        ("expires_before=2020-01-01T00:00:00Z", []),
        ("expires_before=2000-01-01T00:00:00Z", []),
        ("search=for%20invoices", ["lost"]),
        ("search=UPSTREAM", ["upstream"]),
        ("ordering=not_after", ["old", "upstream", "lost", "orders"]),
        ("ordering=-subject", ["upstream", "orders", "old", "lost"]),
        ("page_size=1&page=2", ["lost"]),
    ],
)
def test_finding(admin_client: Client, query: str, found: list[str]) -> None:
    """By purpose, status, end and text, in any order, page by page."""
    old = issue_client_certificate(common_name="old").record
    upstream = issue_server_certificate(common_name="upstream", subject_alt_names=["DNS:upstream"]).record
    lost = issue_client_certificate(common_name="lost", issued_for="for invoices").record
    orders = issue_client_certificate(common_name="orders").record
    for age, record in enumerate((orders, lost, upstream, old)):
        end = timezone.now() - DAY if record is old else record.not_after - age * DAY
        IssuedCertificate.objects.filter(pk=record.pk).update(
            not_before=end - 90 * DAY, not_after=end, created_at=timezone.now() - age * DAY
        )
    revoke_certificate(certificate=lost, reason=RevocationReason.SUPERSEDED, user=None)
    response = admin_client.get(f"{PATH}?{query}")
    assert response.status_code == 200
    results = [document["subject"].removeprefix("CN=") for document in response.json()["results"]]
    assert results == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("purpose=both", "purpose"),
        ("status=lost", "status"),
        ("expires_before=soon", "expires_before"),
        ("expires_before=0001-01-01T00:00:00%2B23:59", "expires_before"),
        ("expires_before=9999-12-31T23:59:59-23:59", "expires_before"),
    ],
)
def test_filters_that_make_no_sense(admin_client: Client, query: str, field: str) -> None:
    """400 at the parameter."""
    response = admin_client.get(f"{PATH}?{query}")
    assert response.status_code == 400
    assert list(problems(response)) == [field]


def test_a_list_costs_the_same_for_any_number_of_rows(admin_client: Client, django_assert_num_queries: Any) -> None:
    """The number of queries does not grow with the certificates."""
    issue_client_certificate(common_name="first")
    admin_client.get(PATH)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(PATH)
    for number in range(8):
        issue_client_certificate(common_name=f"more-{number}")
    with django_assert_num_queries(len(few)):
        admin_client.get(PATH)


VIEW, ADD, CHANGE, DELETE = (f"{verb}_issuedcertificate" for verb in ("view", "add", "change", "delete"))


@pytest.mark.parametrize(
    ("codenames", "statuses"),
    [
        ([], {"list": 403, "issue": 403, "revoke": 403, "renew": 403, "renew and revoke": 403, "delete": 403}),
        ([VIEW], {"list": 200, "issue": 403, "revoke": 403, "renew": 403, "renew and revoke": 403, "delete": 403}),
        ([VIEW, ADD], {"list": 200, "issue": 201, "revoke": 403, "renew": 201, "renew and revoke": 403, "delete": 403}),
        ([VIEW, CHANGE], {"list": 200, "issue": 403, "revoke": 200, "renew": 403, "delete": 403}),
        ([VIEW, DELETE], {"list": 200, "issue": 403, "revoke": 403, "renew": 403, "delete": 409}),
    ],
)
def test_permissions(client: Client, codenames: list[str], statuses: dict[str, int]) -> None:
    """Viewing, issuing, revoking and forgetting are four permissions; revoking while renewing needs two."""
    user_with(client, *codenames)
    path = f"{PATH}/{issue_client_certificate(common_name='orders').record.pk}"
    other = f"{PATH}/{issue_client_certificate(common_name='other').record.pk}"
    wants_key = {"include_private_key": True}
    answers = {
        "list": client.get(PATH),
        "issue": post(client, PATH, CLIENT_ORDER),
        "renew": post(client, f"{path}/renew", wants_key),
        "renew and revoke": post(client, f"{other}/renew", wants_key | {"revoke_old": True}),
        "revoke": post(client, f"{path}/revoke", {"reason": "superseded"}),
        "delete": client.delete(other),
    }
    assert {name: answers[name].status_code for name in statuses} == statuses


def test_anonymous_callers(client: Client) -> None:
    """401 for everything."""
    path = f"{PATH}/{issue_client_certificate(common_name='orders').record.pk}"
    assert client.get(PATH).status_code == client.get(path).status_code == client.delete(path).status_code == 401
    for target in (PATH, f"{path}/revoke", f"{path}/renew"):
        assert post(client, target, {}).status_code == 401


def test_a_session_needs_its_csrf_token() -> None:
    """Another site cannot have a signed-in administrator issue or revoke."""
    user = User.objects.create_superuser("root", password="x")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    path = f"{PATH}/{issue_client_certificate(common_name='orders').record.pk}"
    for target in (PATH, f"{path}/revoke", f"{path}/renew"):
        assert post(client, target, CLIENT_ORDER).status_code == 403
