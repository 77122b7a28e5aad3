"""What another CA is asked to certify, and whether what it signed can be installed.

Laws of this module: nothing is stored and no private key is read but the one that signs its own request. All errors are
raised at once, each at its field; the codes are those of docs/diagnosis.md.
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.core.exceptions import ValidationError

from localca.keys import KeyType, PrivateKey
from localca.validators import clean_common_name, clean_dns_name, clean_note, parse_subject_alt_names
from upstream_tls.client_pair import Errors, check_describable, collected, encoded, translated
from upstream_tls.tls.chain import arrange
from upstream_tls.tls.credentials import certificate_spki_sha256, parse_chain
from upstream_tls.tls.traits import is_ca, may_authenticate_clients

# ub-organization-name and ub-organizational-unit-name, RFC 5280 appendix A.1.
ORGANIZATION_MAX_CHARACTERS = 64

_COUNTRY = re.compile("[A-Z]{2}")  # ISO 3166-1 alpha-2, RFC 5280 appendix A.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the certificate is to say.

    `subject_alt_names` are `DNS:name`, `IP:address` and `URI:uri`; None means the common name when that is a DNS name,
    which is what public CAs make of it as well. What is empty is left out of the subject.
    """

    common_name: str
    subject_alt_names: tuple[str, ...] | None = None
    organization: str = ""
    organizational_unit: str = ""
    country: str = ""
    key_type: KeyType = KeyType.EC_P256


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContent:
    """What a request will say, every value checked."""

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]


def content_of(wish: Wish) -> RequestContent:
    """Raises ValidationError with all errors, keyed by the fields of `wish`."""
    errors: Errors = {}
    attributes: list[x509.NameAttribute[str]] = []
    names: tuple[x509.GeneralName, ...] = ()
    with collected(errors, "country"):
        attributes += _attribute(NameOID.COUNTRY_NAME, _clean_country(wish.country))
    for field_name, oid in (
        ("organization", NameOID.ORGANIZATION_NAME),
        ("organizational_unit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ):
        with collected(errors, field_name):
            attributes += _attribute(oid, _clean_organization(getattr(wish, field_name)))
    with collected(errors, "common_name"):
        attributes += _attribute(NameOID.COMMON_NAME, clean_common_name(wish.common_name))
    with collected(errors, "subject_alt_names"):
        names = _names(wish)
    if errors:
        raise ValidationError(errors)
    return RequestContent(subject=x509.Name(attributes), names=names)


def sign_request(content: RequestContent, key: PrivateKey) -> str:
    """A signing request (PKCS#10, PEM) for a client certificate, which proves that the key is here."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(content.subject)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    if content.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(content.names), critical=False)
    # RFC 8410 section 3: Ed25519 names no hash of its own.
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode("ascii")


def check_signed(chain_pem: str, *, key_spki_sha256: str, now: datetime.datetime) -> None:
    """Whether an upstream can take what a CA signed for the key of this fingerprint. Opens no key.

    Raises ValidationError (`certificate`). What merely will go wrong is a warning of the lint, as with every upload.
    """
    errors: Errors = {}
    with collected(errors, "certificate"):
        certificates = check_describable(translated(lambda: parse_chain(encoded(chain_pem))))
        leaf = translated(lambda: arrange(certificates, leaf_spki_sha256=key_spki_sha256)).chain[0]
        if translated(lambda: certificate_spki_sha256(leaf)) != key_spki_sha256:
            message = (
                f"{leaf.subject.rfc4514_string()} is for another key than that of this request. The CA may have "
                "answered another request."
            )
            raise ValidationError(message, code="key_mismatch")
        if problems := list(_unusable(leaf, now)):
            raise ValidationError(problems)
    if errors:
        raise ValidationError(errors)


def _unusable(leaf: x509.Certificate, now: datetime.datetime) -> Iterator[ValidationError]:
    if is_ca(leaf):
        yield ValidationError("This is a CA certificate: upstreams refuse one as a client's.", code="ca_as_leaf")
    if not may_authenticate_clients(leaf):
        message = (
            "Its extended key usage lacks clientAuth, which the request asks for, so upstreams refuse it. Have the "
            "same request signed again, as one for a TLS client."
        )
        yield ValidationError(message, code="no_client_auth")
    if now > leaf.not_valid_after_utc:
        yield ValidationError(f"It is over since {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC.", code="expired")
    if now < leaf.not_valid_before_utc:
        message = f"It is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC. Install it then."
        yield ValidationError(message, code="not_yet_valid")


def _attribute(oid: x509.ObjectIdentifier, value: str) -> list[x509.NameAttribute[str]]:
    return [x509.NameAttribute(oid, value)] if value else []


def _clean_country(text: str) -> str:
    country = text.strip().upper()
    if country and not _COUNTRY.fullmatch(country):
        raise ValidationError("A country is two letters, such as DE.", code="invalid")
    return country


def _clean_organization(text: str) -> str:
    name = clean_note(text)
    if len(name) > ORGANIZATION_MAX_CHARACTERS:
        raise ValidationError(
            f"This has at most {ORGANIZATION_MAX_CHARACTERS} characters, not {len(name)}.", code="max_length"
        )
    return name


def _names(wish: Wish) -> tuple[x509.GeneralName, ...]:
    if wish.subject_alt_names is None:
        try:
            return (x509.DNSName(clean_dns_name(wish.common_name)),)
        except ValidationError:
            return ()
    return tuple(parse_subject_alt_names(wish.subject_alt_names, may_be_uris=True)) if wish.subject_alt_names else ()
