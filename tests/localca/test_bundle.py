"""The trust bundle that operators of upstreams get."""

import io
import zipfile

import pytest

from localca.bundle import AuthorityMissing, trust_bundle_zip
from localca.revocation import current_list
from localca.services import ensure_authority

pytestmark = pytest.mark.django_db


def test_what_is_in_it() -> None:
    """The CA's certificate, its revocation list, and how to install them on five servers."""
    authority = ensure_authority()
    bundle = zipfile.ZipFile(io.BytesIO(trust_bundle_zip()))
    assert bundle.testzip() is None
    assert bundle.namelist() == ["aegis-local-ca.crt", "aegis-local-ca.crl", "README.txt"]
    assert bundle.read("aegis-local-ca.crt").decode() == authority.certificate_pem
    assert bundle.read("aegis-local-ca.crl").decode() == current_list(authority).pem
    readme = bundle.read("README.txt").decode()
    assert authority.facts.fingerprint_sha256 in readme
    assert authority.facts.subject in readme
    for line in (
        "ssl_client_certificate /etc/nginx/aegis-local-ca.crt;",
        "ca-file /etc/haproxy/aegis-local-ca.crt verify required",
        "mode require_and_verify",
        "SSLVerifyClient require",
        "requestCert: true, rejectUnauthorized: true",
        "ssl_crl /etc/nginx/aegis-local-ca.crl;",
        "crl-file /etc/haproxy/aegis-local-ca.crl",
    ):
        assert line in readme
    assert "&quot;" not in readme, "nothing is escaped for HTML"
    assert "&amp;" not in readme


def test_it_is_the_same_every_time() -> None:
    """Two downloads are equal byte for byte, with readable permissions inside."""
    ensure_authority()
    first = trust_bundle_zip()
    assert first == trust_bundle_zip()
    for entry in zipfile.ZipFile(io.BytesIO(first)).infolist():
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert entry.external_attr >> 16 == 0o644


def test_it_holds_no_key() -> None:
    """No private key goes in."""
    ensure_authority()
    bundle = zipfile.ZipFile(io.BytesIO(trust_bundle_zip()))
    assert all(b"PRIVATE KEY" not in bundle.read(name) for name in bundle.namelist())


def test_before_the_first_run() -> None:
    """Without a CA there is nothing to hand out."""
    with pytest.raises(AuthorityMissing, match="there is no local CA yet"):
        trust_bundle_zip()
