"""Checks of any certificate: version, serial number, signature, subject, validity, key, and where lists are.

Laws of this module: those of `localca.lint.subject`.
"""

import datetime
import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from localca.keys import UnsupportedKey, supported_key
from localca.lint.subject import ALL, BENEATH, BENEATH_OURS, LEAFS, OURS, Check, Subject, extension_of, has_extension

# Apple's limit, which holds for private CAs too (support.apple.com/103769).
LEAF_DAYS_MAX = 825

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_ED25519_SIGNATURE = x509.SignatureAlgorithmOID.ED25519
_KNOWN_EXTENSIONS = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.NameConstraints,
    x509.PolicyConstraints,
    x509.InhibitAnyPolicy,
    x509.CertificatePolicies,
)


def _is_version_3(subject: Subject) -> bool:
    return subject.certificate.version is x509.Version.v3


def _is_serial_number_long(subject: Subject) -> bool:
    # Of 159 random bits that fewer than 64 are in use has a probability of 2^-95: then the generator is broken.
    return subject.certificate.serial_number.bit_length() >= 64


def _is_serial_number_short_enough(subject: Subject) -> bool:
    return 0 < subject.certificate.serial_number < 1 << 159


def _is_signature_strong(subject: Subject) -> bool:
    algorithm = subject.certificate.signature_hash_algorithm
    if algorithm is None:
        return subject.certificate.signature_algorithm_oid == _ED25519_SIGNATURE
    return isinstance(algorithm, _HASHES)


def _is_issuer_named(subject: Subject) -> bool:
    return subject.certificate.issuer.public_bytes() == subject.issuer.subject.public_bytes()


def _is_signed_by_issuer(subject: Subject) -> bool:
    try:
        subject.certificate.verify_directly_issued_by(subject.issuer)
    except Exception:  # noqa: BLE001 (of a signature that is not one, cryptography raises half a dozen types)
        return False
    return True


def _has_subject(subject: Subject) -> bool:
    return len(subject.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)) == 1


def _is_common_name_short(subject: Subject) -> bool:
    found = subject.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return all(0 < len(attribute.value) <= 64 for attribute in found)


def _is_validity_forward(subject: Subject) -> bool:
    return subject.certificate.not_valid_before_utc < subject.certificate.not_valid_after_utc


def _is_validity_bounded(subject: Subject) -> bool:
    validity = subject.certificate.not_valid_after_utc - subject.certificate.not_valid_before_utc
    return validity <= datetime.timedelta(days=LEAF_DAYS_MAX + 1)  # backdating included


def _is_within_issuers(subject: Subject) -> bool:
    certificate = subject.certificate
    return all(
        issuer.not_valid_before_utc <= certificate.not_valid_before_utc
        and certificate.not_valid_after_utc <= issuer.not_valid_after_utc
        for issuer in subject.path
    )


def _is_key_strong(subject: Subject) -> bool:
    try:
        supported_key(subject.certificate.public_key())
    except UnsupportedKey:
        return False
    return True


def _has_own_key(subject: Subject) -> bool:
    return all(subject.certificate.public_key() != issuer.public_key() for issuer in subject.path)


def _has_subject_key_identifier(subject: Subject) -> bool:
    return has_extension(subject, x509.SubjectKeyIdentifier, critical=False)


def _is_issuers_key_identified(subject: Subject) -> bool:
    found = extension_of(subject.certificate, x509.AuthorityKeyIdentifier)
    issuers = extension_of(subject.issuer, x509.SubjectKeyIdentifier)
    is_there = found is not None and issuers is not None and not found.critical
    return is_there and found is not None and issuers is not None and found.value.key_identifier == issuers.value.digest


def _are_critical_extensions_known(subject: Subject) -> bool:
    return all(
        isinstance(extension.value, _KNOWN_EXTENSIONS)
        for extension in subject.certificate.extensions
        if extension.critical
    )


def _are_list_places_urls(subject: Subject) -> bool:
    found = extension_of(subject.certificate, x509.CRLDistributionPoints)
    if found is None:
        return True
    urls = [name for point in found.value for name in point.full_name or ()]
    are_plain = all(point.reasons is None and point.crl_issuer is None and point.full_name for point in found.value)
    are_urls = all(
        isinstance(name, x509.UniformResourceIdentifier) and re.match(r"https?://[^/]", name.value) for name in urls
    )
    return not found.critical and are_plain and are_urls


CHECKS = (
    Check("version", "RFC 5280 4.1.2.1", ALL, "it is not of version 3", _is_version_3),
    Check("serial_entropy", "BR 7.1", OURS, "its serial number is too short", _is_serial_number_long),
    Check("serial_length", "RFC 5280 4.1.2.2", ALL, "its serial number is too long", _is_serial_number_short_enough),
    Check("signature", "BR 7.1.3.2", ALL, "its signature algorithm is weak", _is_signature_strong),
    Check("signed", "RFC 5280 6.1.3", ALL, "its issuer did not sign it", _is_signed_by_issuer),
    Check("issuer_name", "RFC 5280 4.1.2.4", ALL, "its issuer has another name", _is_issuer_named),
    Check("subject", "RFC 5280 4.1.2.6", OURS, "it has not one common name", _has_subject),
    Check("common_name", "RFC 5280 A.1", ALL, "its common name is longer than 64 characters", _is_common_name_short),
    Check("validity", "RFC 5280 4.1.2.5", ALL, "its validity ends before it begins", _is_validity_forward),
    Check(
        "validity_days",
        "BR 6.3.2, Apple",
        LEAFS,
        f"it is valid for more than {LEAF_DAYS_MAX} days",
        _is_validity_bounded,
    ),
    Check("validity_nested", "RFC 5280 6.1.3", BENEATH, "it outlives its CA", _is_within_issuers),
    Check("key", "BR 6.1.5, 6.1.6", ALL, "its key is weak or of an unusual type", _is_key_strong),
    Check("own_key", "RFC 5280 4.2.1.2", BENEATH, "its key is that of a CA", _has_own_key),
    Check("subject_key", "RFC 5280 4.2.1.2", ALL, "it has no subject key identifier", _has_subject_key_identifier),
    Check(
        "issuer_key",
        "RFC 5280 4.2.1.1",
        OURS,
        "its authority key identifier is not its issuer's",
        _is_issuers_key_identified,
    ),
    Check(
        "critical",
        "RFC 5280 4.2",
        ALL,
        "a critical extension is not one that peers know",
        _are_critical_extensions_known,
    ),
    Check(
        "crl_place",
        "RFC 5280 4.2.1.13",
        BENEATH_OURS,
        "its CRL distribution point is no http or https URL",
        _are_list_places_urls,
    ),
)
