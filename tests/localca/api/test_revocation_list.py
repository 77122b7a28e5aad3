"""`GET /ca/crl`: public, in two encodings, and cached no longer than it may be."""

import datetime
from typing import Any

import pytest
import time_machine
from cryptography import x509
from django.test import Client
from django.utils import timezone
from django.utils.http import http_date, parse_http_date

from aegis_site.kernel.fields import Sealed
from localca.keys import generate_key, key_to_pem
from localca.models import RevocationList, RevocationReason
from localca.revocation import current_list, revoke_certificate
from localca.services import ensure_authority, issue_client_certificate

pytestmark = pytest.mark.django_db

PATH = "/api/v1/ca/crl"
DER, PEM = "application/pkix-crl", "application/x-pem-file"


def test_before_the_first_run(client: Client) -> None:
    """Without a CA: 404 which says how it comes to be."""
    response = client.get(PATH)
    assert response.status_code == 404
    assert "manage.py prepare" in response.json()["detail"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_public(client: Client, slash: str) -> None:
    """A CA always has a list; reading it needs no credentials, and bad ones do not matter."""
    authority = ensure_authority()
    for headers in ({}, {"Authorization": "Token nonsense"}):
        response = client.get(f"{PATH}{slash}", headers=headers)
        assert response.status_code == 200
        assert response["Content-Type"] == DER
        assert response["Content-Disposition"] == 'attachment; filename="aegis-local-ca.crl"'
        revocation_list = x509.load_der_x509_crl(response.content)
        assert revocation_list.is_signature_valid(authority.certificate.public_key())  # type: ignore[arg-type]
        assert len(revocation_list) == 0


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", DER),
        ("", "application/json", DER),
        ("", PEM, PEM),
        ("", f"{DER};q=0.1, {PEM}", PEM),
        ("?encoding=pem", DER, PEM),
        ("?encoding=der", PEM, DER),
    ],
)
def test_encodings(client: Client, query: str, accept: str, media_type: str) -> None:
    """DER unless PEM is asked for, in the query or by Accept."""
    latest = current_list(ensure_authority())
    response = client.get(f"{PATH}{query}", headers={"Accept": accept})
    assert response["Content-Type"] == media_type
    assert response.content == (bytes(latest.der) if media_type == DER else latest.pem.encode())
    assert "Accept" in response["Vary"]


@pytest.mark.parametrize("encoding", ["", "json", "PEM", "%00"])
def test_another_encoding_is_refused(client: Client, encoding: str) -> None:
    """400 at the parameter."""
    ensure_authority()
    response = client.get(f"{PATH}?encoding={encoding}")
    assert response.status_code == 400
    assert response.json()["errors"] == [{"field": "encoding", "code": "invalid_choice", "message": "der or pem."}]


def test_how_long_it_may_be_kept(client: Client) -> None:
    """Five minutes, and never past its end; Last-Modified is when the list says that it was made."""
    latest = current_list(ensure_authority())
    response = client.get(PATH)
    assert response["Cache-Control"] == "public, max-age=300, must-revalidate"
    assert parse_http_date(response["Last-Modified"]) == int(latest.this_update.timestamp())
    almost_over = latest.next_update - datetime.timedelta(seconds=30)
    with time_machine.travel(almost_over, tick=False):
        response = client.get(PATH)
    assert response["Cache-Control"] == "public, max-age=30, must-revalidate"
    assert response["Expires"] == http_date(latest.next_update.timestamp())


def test_who_has_it_is_not_sent_it_again(client: Client) -> None:
    """304 by ETag and by date, with the lifetime of the 200; a revocation ends that at once."""
    bundle = issue_client_certificate(common_name="orders")
    first = client.get(PATH)
    conditions = [{"If-None-Match": first["ETag"]}, {"If-Modified-Since": first["Last-Modified"]}]
    for condition in conditions:
        again = client.get(PATH, headers=condition)
        assert (again.status_code, again.content) == (304, b"")
        assert [again[name] for name in ("ETag", "Cache-Control", "Last-Modified")] == [
            first[name] for name in ("ETag", "Cache-Control", "Last-Modified")
        ]
        assert "Expires" in again
    assert client.get(f"{PATH}?encoding=pem")["ETag"] != first["ETag"]
    revoke_certificate(certificate=bundle.record, reason=RevocationReason.UNSPECIFIED, user=None)
    for condition in conditions:
        assert client.get(PATH, headers=condition).status_code == 200


def test_an_overdue_list_is_replaced(client: Client) -> None:
    """When no sweep ran for a week, the first who asks gets a new list."""
    end = current_list(ensure_authority()).next_update
    with time_machine.travel(end, tick=False):
        revocation_list = x509.load_der_x509_crl(client.get(PATH).content)
        assert revocation_list.next_update_utc is not None
        assert revocation_list.next_update_utc > timezone.now()


def test_a_ca_that_cannot_sign(client: Client, settings: Any) -> None:
    """A good list is still handed out; for an overdue one the answer is 503 with a code, and no list."""
    end = current_list(ensure_authority()).next_update
    settings.AEGIS_SSL_KEY = "2e" * 32
    assert client.get(PATH).status_code == 200
    with time_machine.travel(end, tick=False):
        response = client.get(PATH)
    assert response.status_code == 503
    assert response.json()["errors"][0]["code"] == "secret_other_key"


def test_a_ca_whose_key_is_not_its_own(admin_client: Client) -> None:
    """No list and no trust bundle with an overdue one: 503."""
    authority = ensure_authority()
    authority.private_key = Sealed.of(key_to_pem(generate_key()))
    authority.save()
    RevocationList.objects.all().delete()
    for path in (PATH, "/api/v1/ca/trust-bundle"):
        response = admin_client.get(path)
        assert response.status_code == 503
        assert response.json()["errors"][0]["code"] == "signing_failed"


def test_only_the_head_section(client: Client) -> None:
    """HEAD says what GET would."""
    ensure_authority()
    asked, got = client.head(PATH), client.get(PATH)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked["ETag"] == got["ETag"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(admin_client: Client, method: str) -> None:
    """Even an administrator only reads."""
    assert getattr(admin_client, method)(PATH).status_code == 405
