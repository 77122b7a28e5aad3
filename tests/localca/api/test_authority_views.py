"""Changes of the CAs in the HTTP API."""

import base64
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from django.test import Client

from aegis_site.access.models import Scope
from localca.keys import key_to_pem
from localca.models import CertificateAuthority
from localca.selectors import active_authority
from localca.services import ensure_authority, issue_client_certificate
from tests.localca.test_given_lists import pem_of, their_list
from tests.localca.test_importing import DAY, ISSUING, NOW, POLICY, ROOT, imported
from tests.support.roles import user_of
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.django_db

PASSPHRASE = "correct horse battery"


def send(client: Client, method: str, path: str, body: object = None) -> Any:
    return getattr(client, method)(f"/api/v1/{path}", {} if body is None else body, content_type="application/json")


def codes(response: Any) -> dict[str, str]:
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def test_from_root_to_retirement(admin_client: Client) -> None:
    """An intermediate, the root's key out and away, a new root, and the old one retired; each shown as it is."""
    root = ensure_authority()
    made = send(admin_client, "post", "ca/intermediate", {"crl_url": "http://aegis.example.com/crl"})
    assert made.status_code == 201
    document = made.json()
    assert made["Location"].endswith(f"/api/v1/ca/authorities/{document['id']}")
    assert (document["role"], document["issued_by"], document["is_active"], document["key_set"]) == (
        "intermediate",
        str(root.pk),
        True,
        True,
    )
    exported = send(admin_client, "post", f"ca/authorities/{root.pk}/export-key", {"passphrase": PASSPHRASE})
    assert (exported.status_code, exported["Cache-Control"]) == (200, "no-store")
    opened = load_pkcs12(base64.b64decode(exported.json()["pkcs12"]), PASSPHRASE.encode())
    assert opened.key is not None
    removed = send(admin_client, "post", f"ca/authorities/{root.pk}/remove-key")
    assert (removed.status_code, removed.json()["key_set"]) == (200, False)
    assert codes(send(admin_client, "post", "ca/intermediate")) == {"": "key_missing"}
    pem = key_to_pem(opened.key, passphrase=b"a secret").decode()  # type: ignore[arg-type]
    restored = send(
        admin_client,
        "post",
        f"ca/authorities/{root.pk}/restore-key",
        {"private_key": pem, "passphrase": "a secret"},
    )
    assert restored.json()["key_set"] is True
    new = send(admin_client, "post", "ca/root").json()
    assert (new["role"], new["issued_by"]) == ("root", None)
    shown = admin_client.get("/api/v1/ca").json()
    assert shown["trust_anchors"].count("BEGIN CERTIFICATE") == 2
    assert [one["is_active"] for one in shown["authorities"]] == [True, False, False]
    ready = admin_client.get(f"/api/v1/ca/authorities/{root.pk}/readiness").json()
    assert ready == {"is_ready": True, "is_issuing": False, "dependents": [], "certificates": []}
    retired = send(admin_client, "post", f"ca/authorities/{root.pk}/retire")
    assert retired.json()["retired_at"] is not None
    assert admin_client.get("/api/v1/ca").json()["trust_anchors"] == new["certificate"]
    for body in (made, removed, restored, retired):
        assert b"PRIVATE KEY" not in body.content


def test_a_key_as_pem(admin_client: Client) -> None:
    """Encrypted PKCS#8 when asked for; no other format."""
    path = f"ca/authorities/{ensure_authority().pk}/export-key"
    exported = send(admin_client, "post", path, {"passphrase": PASSPHRASE, "format": "pem"})
    assert (list(exported.json()), exported["Cache-Control"]) == (["private_key"], "no-store")
    assert exported.json()["private_key"].startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    refused = send(admin_client, "post", path, {"passphrase": PASSPHRASE, "format": "der"})
    assert codes(refused) == {"format": "invalid_choice"}


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        ("viewer", Scope.WRITE, 403),
        ("operator", Scope.WRITE, 403),
        ("administrator", Scope.READ, 403),
        ("administrator", Scope.WRITE, 200),
    ],
)
def test_who_may_have_a_key(client: Client, role: str, scope: Scope, status: int) -> None:
    """Administrators, and none of their tokens that only read; a refusal notes no export and holds no key."""
    root = ensure_authority()
    headers = bearer(token_of(user_of(role), scope))
    path = f"/api/v1/ca/authorities/{root.pk}/export-key"
    body = {"passphrase": PASSPHRASE, "format": "pem"}
    answer = client.post(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == status
    assert (b"PRIVATE KEY" in answer.content) is (status == 200)
    assert (CertificateAuthority.objects.get(pk=root.pk).key_exported_at is not None) is (status == 200)


def test_giving_a_list(admin_client: Client) -> None:
    """Of a CA whose key is not here; then it is public like ours, and named for its CA."""
    root = imported(ISSUING, POLICY, ROOT).root
    path = f"ca/authorities/{root.pk}/give-crl"
    assert codes(send(admin_client, "post", path, {"crl": pem_of(their_list(POLICY))})) == {"crl": "other_issuer"}
    given = send(admin_client, "post", path, {"crl": pem_of(their_list(ROOT))})
    assert (given.status_code, given.json()["id"]) == (200, str(root.pk))
    answer = Client().get(f"/api/v1/ca/authorities/{root.pk}/crl")
    assert answer["Content-Disposition"] == 'attachment; filename="org-root.crl"'
    assert x509.load_der_x509_crl(answer.content).issuer == ROOT.certificate.subject
    assert Client().get("/api/v1/ca/crl?encoding=pem").content.count(b"BEGIN X509 CRL") == 2
    with time_machine.travel(NOW + 31 * DAY, tick=False):
        over = Client().get(f"/api/v1/ca/authorities/{root.pk}/crl")
        assert (over.status_code, over.json()["errors"][0]["code"]) == (503, "list_missing")


def test_the_id_in_the_place_of_a_list(admin_client: Client) -> None:
    """Substituted when the CA is made, and when the place is changed; another placeholder is refused."""
    ensure_authority()
    for path in ("ca/intermediate", "ca/root"):
        made = send(admin_client, "post", path, {"crl_url": "http://aegis.example.com/{id}.crl"}).json()
        assert made["crl_url"] == f"http://aegis.example.com/{made['id']}.crl"
        refused = send(admin_client, "post", path, {"crl_url": "http://x/{uuid}"})
        assert codes(refused) == {"crl_url": "unknown_placeholder"}
    changed = send(admin_client, "patch", f"ca/authorities/{made['id']}", {"crl_url": "http://x.example/{id}"})
    assert changed.json()["crl_url"] == f"http://x.example/{made['id']}"


def test_what_a_ca_is_needed_for(admin_client: Client) -> None:
    """Readiness names certificates; retiring is refused with the reason."""
    root = ensure_authority()
    record = issue_client_certificate(common_name="orders").record
    send(admin_client, "post", "ca/root")
    ready = admin_client.get(f"/api/v1/ca/authorities/{root.pk}/readiness").json()
    assert [one["id"] for one in ready["certificates"]] == [str(record.pk)]
    refused = send(admin_client, "post", f"ca/authorities/{root.pk}/retire")
    assert (refused.status_code, codes(refused)) == (409, {"": "still_needed"})
    assert "CN=orders" in refused.json()["detail"]


def test_an_import(admin_client: Client) -> None:
    """201 with the CA; wrong values are told at their fields and come back nowhere."""
    ensure_authority()
    body = {"certificate": ISSUING.pem + POLICY.pem, "private_key": ISSUING.key_pem}
    refused = send(admin_client, "post", "ca/import", body)
    assert (refused.status_code, codes(refused)) == (400, {"certificate": "chain_incomplete"})
    made = send(admin_client, "post", "ca/import", {**body, "root_certificate": ROOT.pem})
    assert made.status_code == 201
    assert b"PRIVATE KEY" not in made.content
    active = active_authority()
    assert active is not None
    assert made.json()["id"] == str(active.pk)
    absent = admin_client.get(f"/api/v1/ca/authorities/{active.root.pk}/crl")
    assert absent.status_code == 404
    assert "whoever has it makes its revocation list" in absent.json()["detail"]


def test_revoking_an_intermediate(admin_client: Client, client: Client) -> None:
    """The root's list names it at once, and everybody may read that list."""
    root = ensure_authority()
    first, _ = (send(admin_client, "post", "ca/intermediate").json() for _ in range(2))
    refused = send(admin_client, "post", f"ca/authorities/{root.pk}/revoke", {"reason": "superseded"})
    assert codes(refused) == {"": "is_root"}
    revoked = send(admin_client, "post", f"ca/authorities/{first['id']}/revoke", {"reason": "keyCompromise"})
    assert revoked.json()["revocation_reason"] == "keyCompromise"
    answer = Client().get(f"/api/v1/ca/authorities/{root.pk}/crl")
    assert answer["Cache-Control"] == "public, max-age=300, must-revalidate"
    found = x509.load_der_x509_crl(answer.content)
    serial_number = CertificateAuthority.objects.get(pk=first["id"]).certificate.serial_number
    assert [entry.serial_number for entry in found] == [serial_number]
    pem = Client().get(f"/api/v1/ca/authorities/{root.pk}/crl?encoding=pem")
    assert pem.content.count(b"BEGIN X509 CRL") == 1
    assert Client().get("/api/v1/ca/crl?encoding=pem").content.count(b"BEGIN X509 CRL") == 2


def test_where_the_list_is(admin_client: Client) -> None:
    """PATCH changes it, honours If-Match, and refuses what is no URL."""
    path = f"ca/authorities/{ensure_authority().pk}"
    etag = admin_client.get(f"/api/v1/{path}")["ETag"]
    changed = send(admin_client, "patch", path, {"crl_url": "http://aegis.example.com/crl"})
    assert changed.json()["crl_url"] == "http://aegis.example.com/crl"
    assert codes(send(admin_client, "patch", path, {"crl_url": "nonsense"})) == {"crl_url": "invalid"}
    headers = {"If-Match": etag}
    old = admin_client.patch(f"/api/v1/{path}", {"crl_url": ""}, content_type="application/json", headers=headers)
    assert old.status_code == 412
