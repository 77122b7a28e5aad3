"""Admin pages of the local CA: what they show, what they hand out, and to whom."""

import datetime
import io
import zipfile
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from localca.models import CertificateAuthority, IssuedCertificate, RevocationReason
from localca.revocation import refresh_lists, revoke_certificate
from localca.services import ensure_authority, issue_client_certificate, issue_server_certificate

pytestmark = pytest.mark.django_db

AUTHORITIES = "admin:localca_certificateauthority_changelist"
ISSUED = "admin:localca_issuedcertificate_changelist"


def sign_in(client: Client, *codenames: str) -> Client:
    """A staff member with exactly these permissions."""
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def page(client: Client, name: str, *args: Any, **query: str) -> str:
    response = client.get(reverse(name, args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def test_the_ca_is_shown_and_cannot_be_changed(admin_client: Client) -> None:
    """List and detail show the facts; even an administrator cannot add, change or delete a CA here."""
    authority = ensure_authority()
    assert str(authority) in page(admin_client, AUTHORITIES)
    detail = page(admin_client, "admin:localca_certificateauthority_change", authority.pk)
    for shown in (str(authority), authority.facts.serial_number, authority.facts.fingerprint_sha256, "EC P-256"):
        assert shown in detail
    assert 'name="_save"' not in detail
    assert admin_client.get(reverse("admin:localca_certificateauthority_add")).status_code == 403
    delete = reverse("admin:localca_certificateauthority_delete", args=[authority.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    change = reverse("admin:localca_certificateauthority_change", args=[authority.pk])
    assert admin_client.post(change, {"is_active": ""}).status_code == 403
    assert CertificateAuthority.objects.get().is_active


def test_no_page_shows_the_ca_key(admin_client: Client) -> None:
    """The CA's private key is in no page and no download."""
    authority = ensure_authority()
    body = authority.private_key.reveal().decode().splitlines()[1]
    urls = [
        reverse(AUTHORITIES),
        reverse("admin:localca_certificateauthority_change", args=[authority.pk]),
        reverse("admin:localca_certificateauthority_history", args=[authority.pk]),
        reverse("admin:localca_certificateauthority_certificate", args=[authority.pk]),
        reverse("admin:localca_certificateauthority_revocation_list", args=[authority.pk]),
        reverse("admin:localca_trust_bundle"),
        reverse("admin:localca_ca_certificate"),
    ]
    for url in urls:
        response = admin_client.get(url)
        assert response.status_code == 200, url
        assert body.encode() not in response.content, url
        assert authority.private_key.blob.hex().encode() not in response.content, url


@pytest.mark.parametrize("name", ["admin:localca_trust_bundle", "admin:localca_certificateauthority_trust_bundle"])
def test_trust_bundle(client: Client, name: str) -> None:
    """Whoever may view the CA downloads the zip, from the settings page and from the CA's list."""
    authority = ensure_authority()
    response = sign_in(client, "view_certificateauthority").get(reverse(name))
    assert response.status_code == 200
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"] == 'attachment; filename="aegis-trust-bundle.zip"'
    bundle = zipfile.ZipFile(io.BytesIO(response.content))
    assert bundle.read("aegis-local-ca.crt").decode() == authority.certificate_pem


def test_ca_certificate(client: Client) -> None:
    """The CA's certificate alone, as PEM."""
    authority = ensure_authority()
    sign_in(client, "view_certificateauthority")
    own_name = f"aegis-local-ca-{authority.pk.hex[:8]}"
    for url, name in (
        (reverse("admin:localca_ca_certificate"), "aegis-local-ca"),
        (reverse("admin:localca_certificateauthority_certificate", args=[authority.pk]), own_name),
    ):
        response = client.get(url)
        assert response.content.decode() == authority.certificate_pem
        assert response["Content-Disposition"] == f'attachment; filename="{name}.crt"'


@pytest.mark.parametrize("name", ["admin:localca_trust_bundle", "admin:localca_ca_certificate", AUTHORITIES])
def test_downloads_need_the_permission(client: Client, name: str) -> None:
    """Others are refused; who is not signed in is asked to."""
    ensure_authority()
    assert client.get(reverse(name)).status_code == 302
    assert sign_in(client).get(reverse(name)).status_code == 403


@pytest.mark.parametrize("name", ["admin:localca_trust_bundle", "admin:localca_ca_certificate"])
def test_downloads_before_the_first_run(admin_client: Client, name: str) -> None:
    """Without a CA: not found."""
    assert admin_client.get(reverse(name)).status_code == 404


@pytest.mark.parametrize("model", ["certificateauthority", "issuedcertificate"])
def test_downloads_of_unknown_rows(admin_client: Client, model: str) -> None:
    """An unknown or malformed identifier: not found."""
    for identifier in ("00000000-0000-0000-0000-000000000000", "x"):
        assert admin_client.get(reverse(f"admin:localca_{model}_certificate", args=[identifier])).status_code == 404


def test_issued_certificates_are_shown_and_cannot_be_changed(admin_client: Client) -> None:
    """List and detail show what was issued; nothing of it can be changed."""
    bundle = issue_client_certificate(common_name="orders.example.com", issued_for="host orders")
    record = bundle.record
    assert "orders.example.com" in page(admin_client, ISSUED)
    detail = page(admin_client, "admin:localca_issuedcertificate_change", record.pk)
    for shown in ("DNS:orders.example.com", "host orders", record.serial_number, record.fingerprint_sha256):
        assert shown in detail
    assert 'name="_save"' not in detail


def test_only_what_is_over_is_deleted(admin_client: Client) -> None:
    """The page of a valid certificate says why not; of an expired one, the history remembers what it was."""
    record = issue_client_certificate(common_name="orders").record
    url = reverse("admin:localca_issuedcertificate_delete", args=[record.pk])
    for response in (admin_client.get(url), admin_client.post(url, {"post": "yes"})):
        assert "could never be revoked" in response.content.decode()
    with time_machine.travel(record.not_after, tick=False):
        admin_client.force_login(User.objects.get())
        assert "never be revoked" not in admin_client.get(url).content.decode()
        assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert not IssuedCertificate.objects.exists()
    entry = AuditEntry.objects.get(action="deleted")
    assert (entry.target_type, entry.target_name, entry.user) == ("certificate", "CN=orders", User.objects.get())
    assert not LogEntry.objects.exists()


def test_several_are_deleted_at_once(admin_client: Client) -> None:
    """All that were chosen, or none when one of them is still needed."""
    records = [issue_client_certificate(common_name=name).record for name in ("orders", "stock")]
    revoke_certificate(certificate=records[0], reason=RevocationReason.SUPERSEDED, user=None)
    chosen = {"action": "delete_selected", "_selected_action": [record.pk for record in records], "post": "yes"}
    with time_machine.travel(records[1].not_after, tick=False):
        admin_client.force_login(User.objects.get())
        refused = admin_client.post(reverse(ISSUED), chosen)
        assert "the revocation list has to name it" in refused.content.decode()
        assert IssuedCertificate.objects.count() == 2
    with time_machine.travel(records[1].not_after + datetime.timedelta(days=2), tick=False):
        admin_client.force_login(User.objects.get())
        refresh_lists()
        assert admin_client.post(reverse(ISSUED), chosen).status_code == 302
    assert not IssuedCertificate.objects.exists()
    assert AuditEntry.objects.filter(action="deleted").count() == 2


def test_deleting_takes_its_right(client: Client) -> None:
    """Neither page nor choice without it."""
    record = issue_client_certificate(common_name="orders").record
    viewer = sign_in(client, "view_issuedcertificate")
    url = reverse("admin:localca_issuedcertificate_delete", args=[record.pk])
    assert viewer.post(url, {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page(viewer, ISSUED)


def test_the_history_of_a_certificate(admin_client: Client) -> None:
    """Is what the audit log has of it."""
    record = issue_client_certificate(common_name="orders").record
    revoke_certificate(certificate=record, reason=RevocationReason.SUPERSEDED, user=None)
    history = page(admin_client, "admin:localca_issuedcertificate_history", record.pk)
    assert "Revoked" in history
    assert "Issued" in history


def test_an_issued_certificate_is_downloaded_without_its_key(client: Client) -> None:
    """The download is the certificate; the key is not stored and therefore not in it."""
    bundle = issue_client_certificate(common_name="orders")
    url = reverse("admin:localca_issuedcertificate_certificate", args=[bundle.record.pk])
    response = sign_in(client, "view_issuedcertificate").get(url)
    assert response.content.decode() == bundle.chain_pem
    expected = f'attachment; filename="aegis-client-{bundle.record.serial_number}.crt"'
    assert response["Content-Disposition"] == expected
    assert b"PRIVATE KEY" not in response.content


def test_the_chain_of_an_issued_certificate_is_downloaded(client: Client) -> None:
    """The certificate, then the CA's."""
    record = issue_client_certificate(common_name="orders").record
    url = reverse("admin:localca_issuedcertificate_chain", args=[record.pk])
    response = sign_in(client, "view_issuedcertificate").get(url)
    assert response.content.decode() == record.certificate_pem + ensure_authority().certificate_pem
    expected = f'attachment; filename="aegis-client-{record.serial_number}-chain.crt"'
    assert response["Content-Disposition"] == expected


def test_an_issued_certificate_needs_the_permission(client: Client) -> None:
    """The permission for the CA is not the permission for what it issued."""
    record = issue_client_certificate(common_name="orders").record
    sign_in(client, "view_certificateauthority")
    assert client.get(reverse("admin:localca_issuedcertificate_certificate", args=[record.pk])).status_code == 403
    assert client.get(reverse(ISSUED)).status_code == 403


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "orders"}, ["CN=orders"]),
        ({"q": "for invoices"}, ["CN=invoices"]),
        ({"status": "nonsense"}, ["CN=invoices", "CN=lost", "CN=orders", "CN=upstream"]),
        ({"purpose__exact": "server"}, ["CN=upstream"]),
        ({"status": "valid"}, ["CN=invoices", "CN=orders"]),
        ({"status": "soon"}, ["CN=orders"]),
        ({"status": "expired"}, ["CN=upstream"]),
        ({"status": "revoked"}, ["CN=lost"]),
    ],
)
def test_finding_issued_certificates(admin_client: Client, query: dict[str, str], found: list[str]) -> None:
    """Search knows subjects and notes; filters know purpose and status."""
    issue_client_certificate(common_name="orders")
    issue_client_certificate(common_name="invoices", issued_for="for invoices")
    issue_server_certificate(common_name="upstream", subject_alt_names=["DNS:upstream"])
    lost = issue_client_certificate(common_name="lost").record
    revoke_certificate(certificate=lost, reason=RevocationReason.SUPERSEDED, user=None)
    now = timezone.now()
    IssuedCertificate.objects.filter(subject="CN=orders").update(not_after=now + datetime.timedelta(days=29))
    with time_machine.travel(now + datetime.timedelta(seconds=1), tick=False):
        IssuedCertificate.objects.filter(subject="CN=upstream").update(not_after=now)
        response = admin_client.get(reverse(ISSUED), query)
    assert sorted(record.subject for record in response.context["cl"].queryset) == found


def test_lists_cost_the_same_for_any_number_of_rows(admin_client: Client, django_assert_num_queries: Any) -> None:
    """The number of queries of the list does not grow with its rows."""
    issue_client_certificate(common_name="first")
    page(admin_client, ISSUED)
    with CaptureQueriesContext(connection) as few:
        page(admin_client, ISSUED)
    expected = len(few)
    for number in range(8):
        issue_client_certificate(common_name=f"more-{number}")
    with django_assert_num_queries(expected):
        page(admin_client, ISSUED)
