"""The admin pages that issue, renew and revoke: who may, what they answer with, and that a GET changes nothing."""

import io
import zipfile
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from localca.models import IssuedCertificate, RevocationReason
from localca.revocation import current_list, revoke_certificate
from localca.services import ensure_authority, issue_client_certificate
from tests.support.signing_requests import signing_request

pytestmark = pytest.mark.django_db

ADD = "admin:localca_issuedcertificate_add"
ORDER = {
    "purpose": "client",
    "common_name": "orders",
    "subject_alt_names": "DNS:orders.internal\n\nIP:10.0.0.7\n",
    "key_type": "EC P-256",
    "form": "zip",
}
VIEW, ISSUE, CHANGE = "view_issuedcertificate", "add_issuedcertificate", "change_issuedcertificate"


def staff(client: Client, *codenames: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def url(action: str, certificate: IssuedCertificate) -> str:
    return reverse(f"admin:localca_issuedcertificate_{action}", args=[certificate.pk])


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    errors: dict[str, list[str]] = response.context["form"].errors
    return errors


def zipped(response: HttpResponse) -> dict[str, bytes]:
    assert response["Content-Type"] == "application/zip"
    assert "no-store" in response["Cache-Control"]
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    return {name.rpartition(".")[2]: archive.read(name) for name in archive.namelist() if "local-ca" not in name}


def test_issuing(admin_client: Client) -> None:
    """The answer is a zip with certificate and key; the list has the certificate, the audit log who did it."""
    assert admin_client.get(reverse(ADD)).status_code == 200
    assert not IssuedCertificate.objects.exists()
    response = admin_client.post(reverse(ADD), ORDER | {"validity_days": "30", "issued_for": "the shop"})
    files = zipped(response)  # type: ignore[arg-type]
    certificate = IssuedCertificate.objects.get()
    assert response["Content-Disposition"] == f'attachment; filename="aegis-client-{certificate.serial_number}.zip"'
    assert files["crt"].decode() == certificate.certificate_pem
    key = load_pem_private_key(files["key"], password=None)
    assert key.public_key() == certificate.certificate.public_key()
    assert certificate.facts.subject_alt_names == ("DNS:orders.internal", "IP:10.0.0.7")
    assert certificate.issued_for == "the shop"
    assert AuditEntry.objects.get(action="issued").user_name == "admin"


def test_the_zip_has_the_ca_and_hides_the_key(admin_client: Client) -> None:
    """Unpacked, the key is for its owner alone; with a passphrase it is encrypted as well."""
    response = admin_client.post(reverse(ADD), ORDER | {"passphrase": "correct horse"})
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.read("aegis-local-ca.crt").decode() == ensure_authority().certificate_pem
    modes = {entry.filename.rpartition(".")[2]: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes == {"crt": 0o644, "key": 0o600}
    assert load_pem_private_key(zipped(response)["key"], password=b"correct horse")  # type: ignore[arg-type]


def test_issuing_as_pkcs12(admin_client: Client) -> None:
    """A PKCS#12 file has certificate, key and CA, and needs a passphrase."""
    refused = admin_client.post(reverse(ADD), ORDER | {"form": "pkcs12"})
    assert errors_of(refused) == {"passphrase": ["A PKCS#12 file needs a passphrase."]}
    response = admin_client.post(reverse(ADD), ORDER | {"form": "pkcs12", "passphrase": "correct horse"})
    assert response["Content-Type"] == "application/x-pkcs12"
    content = pkcs12.load_pkcs12(response.content, b"correct horse")
    assert content.key is not None
    assert [extra.certificate for extra in content.additional_certs] == [ensure_authority().certificate]


def test_issuing_for_a_signing_request(admin_client: Client) -> None:
    """Without a key of ours the answer is the certificate alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    order = {**ORDER, "common_name": "", "subject_alt_names": "", "csr": signing_request(key), "names_from_csr": "on"}
    response = admin_client.post(reverse(ADD), order)
    leaf = x509.load_pem_x509_certificate(response.content)
    assert leaf.public_key() == key.public_key()
    assert leaf.subject.rfc4514_string() == "CN=from csr"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"common_name": ""}, "common_name", "Enter a common name."),
        ({"purpose": "server", "subject_alt_names": ""}, "subject_alt_names", "Enter at least one DNS name"),
        ({"subject_alt_names": "orders"}, "subject_alt_names", "'orders' is none of DNS:name"),
        ({"validity_days": "900"}, "validity_days", "less than or equal to 825"),
        ({"csr": "nonsense"}, "csr", "This is not one PEM block"),
        ({"passphrase": "short"}, "passphrase", "at least 8 characters"),
    ],
)
def test_errors_stand_at_their_fields(admin_client: Client, changes: dict[str, str], field: str, message: str) -> None:
    """The page comes back with what was entered, but never with a passphrase; nothing is issued."""
    response = admin_client.post(reverse(ADD), {"passphrase": "swordfish-canary", **ORDER, **changes})
    errors = errors_of(response)
    assert list(errors) == [field]
    assert message in errors[field][0]
    assert b"swordfish-canary" not in response.content
    assert not IssuedCertificate.objects.exists()


def test_a_ca_whose_key_does_not_open(admin_client: Client, settings: Any) -> None:
    """The pages say so; there is no traceback, and nothing was changed."""
    certificate = issue_client_certificate(common_name="orders").record
    settings.AEGIS_SSL_KEY = "2e" * 32
    assert "not in AEGIS_SSL_KEY" in errors_of(admin_client.post(reverse(ADD), ORDER))["__all__"][0]
    assert (
        "not in AEGIS_SSL_KEY" in errors_of(admin_client.post(url("renew", certificate), {"form": "zip"}))["__all__"][0]
    )
    response = admin_client.post(url("revoke", certificate), {"reason": "superseded", "_form_submitted": "True"})
    page = admin_client.get(response["HX-Redirect"]).content.decode()
    assert "not in AEGIS_SSL_KEY" in page
    assert IssuedCertificate.objects.get().status == "valid"


def test_renewing(admin_client: Client) -> None:
    """The download has the successor with another key; the two pages lead to each other."""
    old = issue_client_certificate(common_name="orders").record
    assert admin_client.get(url("renew", old)).status_code == 200
    assert IssuedCertificate.objects.count() == 1
    files = zipped(admin_client.post(url("renew", old), {"form": "zip"}))  # type: ignore[arg-type]
    new = IssuedCertificate.objects.get(renewed_from=old)
    assert files["crt"].decode() == new.certificate_pem
    assert url("change", new) in admin_client.get(url("change", old)).content.decode()
    assert url("change", old) in admin_client.get(url("change", new)).content.decode()
    assert "renewed already" in errors_of(admin_client.post(url("renew", old), {"form": "zip"}))["__all__"][0]


def test_renewing_and_revoking(client: Client) -> None:
    """Who may not revoke is not offered it, and cannot have it by asking."""
    first, second = (issue_client_certificate(common_name=name).record for name in ("first", "second"))
    staff(client, VIEW, ISSUE)
    asked = {"form": "zip", "revoke_old": "on"}
    assert b"revoke_old" not in client.get(url("renew", first)).content
    zipped(client.post(url("renew", first), asked))  # type: ignore[arg-type]
    assert IssuedCertificate.objects.get(pk=first.pk).status == "valid"
    client.force_login(User.objects.create_superuser("root"))
    zipped(client.post(url("renew", second), asked))  # type: ignore[arg-type]
    assert IssuedCertificate.objects.get(pk=second.pk).revocation_reason == "superseded"


def test_revoking(admin_client: Client) -> None:
    """The dialog asks for a reason; then the list names the certificate, whose page offers neither action any more."""
    certificate = issue_client_certificate(common_name="orders").record
    assert admin_client.get(url("revoke", certificate)).status_code == 200
    without_reason = admin_client.post(url("revoke", certificate), {"reason": "", "_form_submitted": "True"})
    assert "reason" in errors_of(without_reason)
    assert IssuedCertificate.objects.get().status == "valid"
    before = admin_client.get(url("change", certificate)).content.decode()
    response = admin_client.post(url("revoke", certificate), {"reason": "keyCompromise", "_form_submitted": "True"})
    assert response["HX-Redirect"] == url("change", certificate)
    after = admin_client.get(url("change", certificate)).content.decode()
    assert "Revoked CN=orders." in after
    assert "Status.REVOKED" not in after
    for action in ("revoke", "renew"):
        assert url(action, certificate) in before
        assert url(action, certificate) not in after
    assert len(current_list(ensure_authority()).revocation_list) == 1
    assert AuditEntry.objects.get(action="revoked").user_name == "admin"
    again = admin_client.post(url("revoke", certificate), {"reason": "superseded", "_form_submitted": "True"})
    assert "revoked already" in admin_client.get(again["HX-Redirect"]).content.decode()


@pytest.mark.parametrize(
    ("codenames", "allowed"), [([VIEW], set()), ([VIEW, ISSUE], {"add", "renew"}), ([VIEW, CHANGE], {"revoke"})]
)
def test_permissions(client: Client, codenames: list[str], allowed: set[str]) -> None:
    """Issuing and renewing need one permission, revoking another; viewing is not enough."""
    certificate = issue_client_certificate(common_name="orders").record
    staff(client, *codenames)
    paths = {"add": reverse(ADD), "renew": url("renew", certificate), "revoke": url("revoke", certificate)}
    page = client.get(url("change", certificate)).content.decode()
    for name, path in paths.items():
        for response in (client.get(path), client.post(path, {})):
            assert response.status_code == (200 if name in allowed else 403), name
        if name != "add":
            assert (path in page) is (name in allowed)
    assert IssuedCertificate.objects.get().status == "valid"


def test_another_site_changes_nothing() -> None:
    """Every POST needs the CSRF token."""
    certificate = issue_client_certificate(common_name="orders").record
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    for path in (reverse(ADD), url("renew", certificate), url("revoke", certificate)):
        assert client.post(path, ORDER | {"reason": "superseded", "_form_submitted": "True"}).status_code == 403
    assert IssuedCertificate.objects.get().status == "valid"


@pytest.mark.parametrize("action", ["renew", "revoke"])
def test_unknown_certificates(admin_client: Client, action: str) -> None:
    """404."""
    for identifier in ("00000000-0000-0000-0000-000000000000", "x"):
        path = reverse(f"admin:localca_issuedcertificate_{action}", args=[identifier])
        assert admin_client.post(path, {"reason": "superseded", "_form_submitted": "True"}).status_code == 404


def test_the_ca_page_shows_its_list(admin_client: Client) -> None:
    """Number and entries, and the list as PEM to download."""
    bundle = issue_client_certificate(common_name="orders")
    revoke_certificate(certificate=bundle.record, reason=RevocationReason.SUPERSEDED, user=None)
    authority = ensure_authority()
    page = admin_client.get(reverse("admin:localca_certificateauthority_change", args=[authority.pk]))
    assert "2, with 1 revoked certificate" in page.content.decode()
    response = admin_client.get(reverse("admin:localca_certificateauthority_revocation_list", args=[authority.pk]))
    assert response.content.decode() == current_list(authority).pem
    own_name = f"aegis-local-ca-{authority.pk.hex[:8]}"
    assert response["Content-Disposition"] == f'attachment; filename="{own_name}.crl"'
