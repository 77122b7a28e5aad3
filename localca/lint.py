"""What is wrong with a certificate before anybody gets it: one table of checks, each with its source.

Laws of this module: no Django, no clock, no storage; nothing is repaired. A check is one question about one certificate
and answers without raising; bytes that it cannot read are a finding too. Sources are RFC 5280, the CA/Browser Forum's
Baseline Requirements ("BR", version 2), RFC 9525, SPIFFE's X509-SVID, and, where a private CA has needs of its own,
this one.

Left out of BR, because it serves the public web: validation of domains and their policy OIDs (7.1.6), the AIA
extension (7.1.2.11.1), Certificate Transparency (7.1.2.11.3), the common name among the names (7.1.4.3), and the limit
of 398 days (6.3.2) where more was asked for. Ed25519 is allowed (RFC 8410), which BR 6.1.5 does not know.
"""

import datetime
import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localca.keys import UnsupportedKey, supported_key

E = TypeVar("E", bound=x509.ExtensionType)

# Apple's limit, which holds for private CAs too (support.apple.com/103769).
LEAF_DAYS_MAX = 825

SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
_DNS_NAME = re.compile(r"(\*\.)?(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)
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


class Role(enum.Enum):
    """What a certificate is for, which decides what it must look like."""

    CLIENT = "client"
    SERVER = "server"
    ROOT = "root"
    INTERMEDIATE = "intermediate"
    IMPORTED = "imported intermediate"


LEAFS = frozenset({Role.CLIENT, Role.SERVER})
BENEATH_OURS = LEAFS | {Role.INTERMEDIATE}
AUTHORITIES = frozenset({Role.ROOT, Role.INTERMEDIATE, Role.IMPORTED})
OURS = frozenset(Role) - {Role.IMPORTED}
BENEATH = frozenset(Role) - {Role.ROOT}
ALL = frozenset(Role)

_PURPOSES = {Role.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, Role.SERVER: ExtendedKeyUsageOID.SERVER_AUTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at. `path` is who issued it, then those above, the root last; of a root, the root itself."""

    certificate: x509.Certificate
    role: Role
    path: tuple[x509.Certificate, ...]

    @property
    def issuer(self) -> x509.Certificate:
        return self.path[0]


@dataclass(frozen=True, slots=True)
class Check:
    """One question: `holds` is true of a good certificate, `problem` says what is wrong with another."""

    code: str
    source: str
    roles: frozenset[Role]
    problem: str
    holds: Callable[[Subject], bool]


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that failed."""

    check: Check

    def __str__(self) -> str:
        return f"{self.check.problem} ({self.check.code}, {self.check.source})"


def lint(certificate: x509.Certificate, *, role: Role, path: tuple[x509.Certificate, ...]) -> tuple[Finding, ...]:
    """Every check of the role that fails. `path` as in `Subject`."""
    subject = Subject(certificate=certificate, role=role, path=path)
    return tuple(Finding(check) for check in CHECKS if role in check.roles and not _holds(check, subject))


def _holds(check: Check, subject: Subject) -> bool:
    try:
        return check.holds(subject)
    except (ValueError, x509.DuplicateExtension, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType):
        return False


def _extension(certificate: x509.Certificate, kind: type[E]) -> x509.Extension[E] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _has(subject: Subject, kind: type[E], *, critical: bool) -> bool:
    found = _extension(subject.certificate, kind)
    return found is not None and found.critical is critical


def _names(subject: Subject, kind: type[x509.GeneralName]) -> list[str]:
    extension = subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value if isinstance(name, kind)]


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


def _is_no_authority(subject: Subject) -> bool:
    found = _extension(subject.certificate, x509.BasicConstraints)
    return found is not None and not found.value.ca and found.value.path_length is None


def _is_authority(subject: Subject) -> bool:
    found = _extension(subject.certificate, x509.BasicConstraints)
    return found is not None and found.value.ca


def _has_room_beneath(subject: Subject) -> bool:
    """RFC 5280: how many intermediates may stand between each CA and the leaf."""
    beneath = 0 if subject.role in LEAFS else 1
    for depth, issuer in enumerate(subject.path):
        limit = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if limit is not None and limit < beneath + depth:
            return False
    return True


def _is_for_leafs_only(subject: Subject) -> bool:
    return subject.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def _signs_only(subject: Subject) -> bool:
    usage = subject.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    others = (usage.content_commitment, usage.data_encipherment, usage.key_agreement)
    return usage.digital_signature and not (usage.key_cert_sign or usage.crl_sign or any(others))


def _signs_certificates_and_lists(subject: Subject) -> bool:
    usage = subject.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    return usage.key_cert_sign and usage.crl_sign


def _has_one_purpose(subject: Subject) -> bool:
    usage = subject.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return list(usage) == [_PURPOSES[subject.role]]


def _is_purpose_nested(subject: Subject) -> bool:
    """Go, Windows and NSS: what a leaf is for, each CA above must allow, unless it says nothing."""
    needed = {_PURPOSES[subject.role]} if subject.role in LEAFS else set(_PURPOSES.values())
    certificates = subject.path if subject.role in LEAFS else (subject.certificate, *subject.path)
    allowed = [_extension(certificate, x509.ExtendedKeyUsage) for certificate in certificates]
    return all(found is None or needed <= set(found.value) for found in allowed)


def _is_name_there(subject: Subject) -> bool:
    return len(subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) > 0


def _are_names_of_known_kinds(subject: Subject) -> bool:
    names = subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(isinstance(name, x509.DNSName | x509.IPAddress | x509.UniformResourceIdentifier) for name in names)


def _are_names_different(subject: Subject) -> bool:
    names = list(subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return len(set(names)) == len(names)


def _can_be_asked_for(subject: Subject) -> bool:
    return bool(_names(subject, x509.DNSName) or _names(subject, x509.IPAddress))


def _has_no_uri(subject: Subject) -> bool:
    return not _names(subject, x509.UniformResourceIdentifier)


def _are_dns_names(subject: Subject) -> bool:
    return all(len(name) <= 253 and _DNS_NAME.fullmatch(name) for name in _names(subject, x509.DNSName))


def _are_uris_absolute(subject: Subject) -> bool:
    return all(
        re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", name)
        for name in _names(subject, x509.UniformResourceIdentifier)
    )


def _is_spiffe_id_alone(subject: Subject) -> bool:
    uris = _names(subject, x509.UniformResourceIdentifier)
    return len(uris) == 1 or not any(uri.lower().startswith("spiffe:") for uri in uris)


def _are_spiffe_ids(subject: Subject) -> bool:
    uris = _names(subject, x509.UniformResourceIdentifier)
    return all(SPIFFE_ID.fullmatch(uri) for uri in uris if uri.lower().startswith("spiffe:"))


def _has_subject_key_identifier(subject: Subject) -> bool:
    return _has(subject, x509.SubjectKeyIdentifier, critical=False)


def _is_issuers_key_identified(subject: Subject) -> bool:
    found = _extension(subject.certificate, x509.AuthorityKeyIdentifier)
    issuers = _extension(subject.issuer, x509.SubjectKeyIdentifier)
    is_there = found is not None and issuers is not None and not found.critical
    return is_there and found is not None and issuers is not None and found.value.key_identifier == issuers.value.digest


def _are_critical_extensions_known(subject: Subject) -> bool:
    return all(
        isinstance(extension.value, _KNOWN_EXTENSIONS)
        for extension in subject.certificate.extensions
        if extension.critical
    )


def _are_list_places_urls(subject: Subject) -> bool:
    found = _extension(subject.certificate, x509.CRLDistributionPoints)
    if found is None:
        return True
    urls = [name for point in found.value for name in point.full_name or ()]
    are_plain = all(point.reasons is None and point.crl_issuer is None and point.full_name for point in found.value)
    are_urls = all(
        isinstance(name, x509.UniformResourceIdentifier) and re.match(r"https?://[^/]", name.value) for name in urls
    )
    return not found.critical and are_plain and are_urls


def _checks() -> Iterator[Check]:
    """The table."""
    yield Check("version", "RFC 5280 4.1.2.1", ALL, "it is not of version 3", _is_version_3)
    yield Check("serial_entropy", "BR 7.1", OURS, "its serial number is too short", _is_serial_number_long)
    yield Check(
        "serial_length", "RFC 5280 4.1.2.2", ALL, "its serial number is too long", _is_serial_number_short_enough
    )
    yield Check("signature", "BR 7.1.3.2", ALL, "its signature algorithm is weak", _is_signature_strong)
    yield Check("signed", "RFC 5280 6.1.3", ALL, "its issuer did not sign it", _is_signed_by_issuer)
    yield Check("issuer_name", "RFC 5280 4.1.2.4", ALL, "its issuer has another name", _is_issuer_named)
    yield Check("subject", "RFC 5280 4.1.2.6", OURS, "it has not one common name", _has_subject)
    yield Check(
        "common_name", "RFC 5280 A.1", ALL, "its common name is longer than 64 characters", _is_common_name_short
    )
    yield Check("validity", "RFC 5280 4.1.2.5", ALL, "its validity ends before it begins", _is_validity_forward)
    yield Check(
        "validity_days",
        "BR 6.3.2, Apple",
        LEAFS,
        f"it is valid for more than {LEAF_DAYS_MAX} days",
        _is_validity_bounded,
    )
    yield Check("validity_nested", "RFC 5280 6.1.3", BENEATH, "it outlives its CA", _is_within_issuers)
    yield Check("key", "BR 6.1.5, 6.1.6", ALL, "its key is weak or of an unusual type", _is_key_strong)
    yield Check("own_key", "RFC 5280 4.2.1.2", BENEATH, "its key is that of a CA", _has_own_key)
    yield Check(
        "constraints",
        "RFC 5280 4.2.1.9",
        ALL,
        "its basic constraints are not critical",
        lambda subject: _has(subject, x509.BasicConstraints, critical=True),
    )
    yield Check("leaf", "BR 7.1.2.7.8", LEAFS, "its basic constraints are not those of a leaf", _is_no_authority)
    yield Check("authority", "RFC 5280 4.2.1.9", AUTHORITIES, "it is not a CA", _is_authority)
    yield Check(
        "path_length", "RFC 5280 4.2.1.9", BENEATH, "a CA above allows no certificate this far below", _has_room_beneath
    )
    yield Check("leafs_only", "Aegis", frozenset({Role.INTERMEDIATE}), "its path length is not 0", _is_for_leafs_only)
    yield Check(
        "key_usage",
        "BR 7.1.2.7.11",
        ALL,
        "its key usage is not critical",
        lambda subject: _has(subject, x509.KeyUsage, critical=True),
    )
    yield Check("leaf_usage", "BR 7.1.2.7.11", LEAFS, "its key may do other things than sign a handshake", _signs_only)
    yield Check(
        "authority_usage",
        "BR 7.1.2.10.7",
        AUTHORITIES,
        "its key may not sign certificates and lists",
        _signs_certificates_and_lists,
    )
    yield Check("purpose", "BR 7.1.2.7.10", LEAFS, "it has another purpose, or more than one", _has_one_purpose)
    yield Check(
        "purpose_optional",
        "RFC 5280 4.2.1.12",
        LEAFS,
        "its extended key usage is critical",
        lambda subject: _has(subject, x509.ExtendedKeyUsage, critical=False),
    )
    yield Check(
        "purpose_nested",
        "BR 7.1.2.10.6, Go",
        BENEATH,
        "it, or a CA above, is not for TLS clients and servers",
        _is_purpose_nested,
    )
    yield Check("names", "BR 7.1.2.7.12", LEAFS, "it has no subject alternative name", _is_name_there)
    yield Check(
        "names_optional",
        "RFC 5280 4.2.1.6",
        LEAFS,
        "its names are critical",
        lambda subject: _has(subject, x509.SubjectAlternativeName, critical=False),
    )
    yield Check("name_kinds", "BR 7.1.2.7.12", LEAFS, "a name is none of DNS, IP and URI", _are_names_of_known_kinds)
    yield Check("name_twice", "Aegis", LEAFS, "a name is in it twice", _are_names_different)
    yield Check(
        "server_names",
        "RFC 9525 6.1",
        frozenset({Role.SERVER}),
        "a server certificate needs a DNS name or an IP address",
        _can_be_asked_for,
    )
    yield Check("server_uri", "BR 7.1.2.7.12", frozenset({Role.SERVER}), "a server's name is a URI", _has_no_uri)
    yield Check("dns_name", "BR 7.1.4.2, RFC 9525 6.3", LEAFS, "a DNS name is none", _are_dns_names)
    yield Check("uri", "RFC 5280 4.2.1.6", LEAFS, "a URI is not absolute", _are_uris_absolute)
    yield Check("spiffe_alone", "X509-SVID 2", LEAFS, "a SPIFFE ID stands beside another URI", _is_spiffe_id_alone)
    yield Check("spiffe_id", "SPIFFE-ID 2", LEAFS, "a SPIFFE ID is malformed", _are_spiffe_ids)
    yield Check("subject_key", "RFC 5280 4.2.1.2", ALL, "it has no subject key identifier", _has_subject_key_identifier)
    yield Check(
        "issuer_key",
        "RFC 5280 4.2.1.1",
        OURS,
        "its authority key identifier is not its issuer's",
        _is_issuers_key_identified,
    )
    yield Check(
        "critical",
        "RFC 5280 4.2",
        ALL,
        "a critical extension is not one that peers know",
        _are_critical_extensions_known,
    )
    yield Check(
        "crl_place",
        "RFC 5280 4.2.1.13",
        BENEATH_OURS,
        "its CRL distribution point is no http or https URL",
        _are_list_places_urls,
    )


CHECKS = tuple(_checks())
