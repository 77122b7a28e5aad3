"""The local CA in the HTTP API."""

import io
import zipfile

import pytest
from django.test import Client

from localca.services import ensure_authority

pytestmark = pytest.mark.django_db


def test_the_ca(admin_client: Client) -> None:
    """The CA's certificate and its facts; nothing of its key."""
    authority = ensure_authority()
    response = admin_client.get("/api/v1/ca")
    document = response.json()
    assert set(document) == {
        "id",
        "certificate",
        "certificate_info",
        "created_at",
        "chain",
        "trust_anchors",
        "authorities",
    }
    assert (document["chain"], document["trust_anchors"]) == ("", authority.certificate_pem)
    assert document["id"] == str(authority.pk)
    assert document["certificate"] == authority.certificate_pem
    facts = document["certificate_info"]
    assert facts["subject"] == facts["issuer"] == f"CN={authority}"
    assert facts["fingerprint_sha256"] == authority.facts.fingerprint_sha256
    assert (facts["key_type"], facts["key_bits"], facts["is_ca"]) == ("EC P-256", 256, True)
    body = authority.private_key.reveal().decode().splitlines()[1]
    assert body not in response.content.decode()


def test_before_the_first_run(admin_client: Client) -> None:
    """Without a CA: 404 which says how it comes to be."""
    for path in ("ca", "ca/aegis-local-ca.crt", "ca/trust-bundle"):
        response = admin_client.get(f"/api/v1/{path}")
        assert response.status_code == 404
        assert response.json()["detail"] == "there is no local CA yet; `manage.py prepare` creates it"


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_certificate_is_public(client: Client, slash: str) -> None:
    """The PEM file needs no credentials, and bad ones do not matter."""
    authority = ensure_authority()
    for headers in ({}, {"Authorization": "Token nonsense"}):
        response = client.get(f"/api/v1/ca/aegis-local-ca.crt{slash}", headers=headers)
        assert response.status_code == 200
        assert response.content.decode() == authority.certificate_pem
        assert response["Content-Disposition"] == 'attachment; filename="aegis-local-ca.crt"'


def test_the_trust_bundle(admin_client: Client, client: Client) -> None:
    """The zip is for users who may view the CA."""
    authority = ensure_authority()
    response = admin_client.get("/api/v1/ca/trust-bundle")
    assert response["Content-Type"] == "application/zip"
    bundle = zipfile.ZipFile(io.BytesIO(response.content))
    assert bundle.read("aegis-local-ca.crt").decode() == authority.certificate_pem
    assert Client().get("/api/v1/ca/trust-bundle").status_code == 401


@pytest.mark.parametrize("path", ["ca", "ca/trust-bundle", "ca/aegis-local-ca.crt"])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(admin_client: Client, method: str, path: str) -> None:
    """Even an administrator only reads."""
    assert getattr(admin_client, method)(f"/api/v1/{path}").status_code == 405
