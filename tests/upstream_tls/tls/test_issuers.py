"""The guess whether an intermediate was not sent."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL.crypto import X509

from upstream_tls.tls.issuers import is_missing_intermediate
from upstream_tls.zoo.pki import PKI

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of issuers", NOW)


def guess(
    leaf: x509.Certificate,
    *anchors: x509.Certificate,
    known: tuple[x509.Certificate, ...] = (),
    is_system_trust: bool = False,
) -> bool:
    trusted = [X509.from_cryptography(anchor) for anchor in anchors]
    return is_missing_intermediate(leaf, anchors=trusted, known=known, is_system_trust=is_system_trust)


def leaf_with(pki: PKI, extension: x509.ExtensionType) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leaf")]))
        .issuer_name(pki.intermediate.certificate.subject)
        .public_key(pki.key("leaf").public_key())
        .serial_number(3)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(extension, critical=False)
        .sign(pki.intermediate.key, hashes.SHA256())  # type: ignore[arg-type]
    )


def test_known_intermediate_of_a_trusted_root_is_missing(pki: PKI) -> None:
    """It signed the leaf, and an anchor signed it; anything less is an unknown authority."""
    leaf = pki.server(issuer=pki.intermediate).certificate
    root, between = pki.root.certificate, pki.intermediate.certificate
    assert guess(leaf, root, known=(pki.stranger.certificate, between))
    assert not guess(leaf, root)
    assert not guess(leaf, pki.stranger.certificate, known=(between,))
    assert not guess(pki.server(issuer=pki.stranger).certificate, root, known=(between,))
    assert not guess(pki.self_signed().certificate, root, known=(between,))


def test_leaf_may_name_the_root_above_its_issuer(pki: PKI) -> None:
    """The authority key identifier holds the issuer's issuer."""
    names = [x509.DirectoryName(pki.root.certificate.subject)]
    leaf = leaf_with(pki, x509.AuthorityKeyIdentifier(b"k", names, 7))
    assert guess(leaf, pki.root.certificate)
    assert not guess(leaf, pki.stranger.certificate)


def test_leaf_of_a_public_ca_has_an_intermediate(pki: PKI) -> None:
    """It carries timestamps of CT logs; that counts only when the system's CAs are trusted."""
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
    leaf = leaf_with(pki, x509.UnrecognizedExtension(oid, b"\x04\x02\x00\x00"))
    assert guess(leaf, pki.stranger.certificate, is_system_trust=True)
    assert not guess(leaf, pki.stranger.certificate)


def test_malformed_certificate_gives_no_guess(pki: PKI) -> None:
    """And no exception."""
    leaf = leaf_with(pki, x509.UnrecognizedExtension(x509.AuthorityKeyIdentifier.oid, b"\x30\x84"))
    assert not guess(leaf, pki.root.certificate, is_system_trust=True)
