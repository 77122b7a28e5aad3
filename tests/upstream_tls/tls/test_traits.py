"""What a certificate may be used for."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.support.certificates import Authority
from tests.support.odd_certificates import ROOT_OF_OLD, SIGNED_WITH_SHA1, certificate
from upstream_tls.tls.traits import (
    has_weak_key,
    has_weak_signature,
    is_ca,
    may_authenticate_clients,
    may_authenticate_servers,
    may_be_trusted_as_ca,
    may_sign,
    names_its_issuers_address,
)

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
CA = Authority("Orders CA")


def with_usages(*usages: x509.ObjectIdentifier) -> x509.Certificate:
    return certificate(extensions=[x509.ExtendedKeyUsage(usages)], now=NOW)


def key_usage(*, digital_signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def access(method: x509.ObjectIdentifier) -> x509.AuthorityInformationAccess:
    where = x509.UniformResourceIdentifier("http://ca.example/issuer.crt")
    return x509.AuthorityInformationAccess([x509.AccessDescription(method, where)])


def test_a_ca_says_so_or_is_a_ROOT_OF_OLD() -> None:
    """Basic constraints; without them, only a self-signed certificate of version 1 is taken as a CA."""
    assert [is_ca(found) for found in (CA.certificate, CA.client().certificate, ROOT_OF_OLD)] == [True, False, False]
    assert may_be_trusted_as_ca(CA.certificate)
    assert may_be_trusted_as_ca(ROOT_OF_OLD)
    assert not may_be_trusted_as_ca(CA.client().certificate)
    assert not may_be_trusted_as_ca(certificate(now=NOW))


def test_clients_need_client_auth_if_usages_are_named_at_all() -> None:
    """No extension allows everything, and so does the usage `any`."""
    assert may_authenticate_clients(certificate(now=NOW))
    assert may_authenticate_clients(with_usages(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
    assert may_authenticate_clients(with_usages(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))
    assert not may_authenticate_clients(with_usages(ExtendedKeyUsageOID.SERVER_AUTH))


def test_servers_need_server_auth_if_usages_are_named_at_all() -> None:
    """As clients need theirs."""
    assert may_authenticate_servers(certificate(now=NOW))
    assert may_authenticate_servers(with_usages(ExtendedKeyUsageOID.SERVER_AUTH))
    assert not may_authenticate_servers(with_usages(ExtendedKeyUsageOID.CLIENT_AUTH))


def test_signing_needs_digital_signature_if_key_usage_is_there() -> None:
    """A certificate for encryption only cannot prove its key in TLS 1.3."""
    assert may_sign(certificate(now=NOW))
    assert may_sign(certificate(extensions=[key_usage(digital_signature=True)], now=NOW))
    assert not may_sign(certificate(extensions=[key_usage(digital_signature=False)], now=NOW))


def test_the_issuers_address_is_not_that_of_ocsp() -> None:
    """Only `caIssuers` hints at an intermediate."""
    issuers = access(AuthorityInformationAccessOID.CA_ISSUERS)
    assert names_its_issuers_address(certificate(extensions=[issuers], now=NOW))
    assert not names_its_issuers_address(certificate(extensions=[access(AuthorityInformationAccessOID.OCSP)], now=NOW))
    assert not names_its_issuers_address(certificate(now=NOW))


@pytest.mark.parametrize(
    ("key", "weak"),
    [
        (rsa.generate_private_key(65537, 1024), True),  # noqa: S505 (that is the point)
        (rsa.generate_private_key(65537, 2048), False),
        (ec.generate_private_key(ec.SECP256R1()), False),
        (ec.generate_private_key(ec.SECP256K1()), True),
    ],
    ids=["RSA 1024", "RSA 2048", "P-256", "secp256k1"],
)
def test_weak_keys(key: object, weak: bool) -> None:
    """As OpenSSL's default security level and TLS 1.3 see it."""
    assert has_weak_key(certificate(key=key, now=NOW)) is weak


def test_weak_signatures() -> None:
    """SHA-1 is weak; SHA-256, and Ed25519, which names no hash, are not."""
    assert has_weak_signature(SIGNED_WITH_SHA1)
    assert not has_weak_signature(CA.certificate)
    key = ed25519.Ed25519PrivateKey.generate()
    builder = (
        x509.CertificateBuilder()
        .subject_name(CA.certificate.subject)
        .issuer_name(CA.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    assert not has_weak_signature(builder.sign(key, None))
