"""What an upstream showed of itself, as plain values that are safe to print.

Laws of this module: a stranger wrote all of it. Nothing raises, whatever the certificate holds: a part that cannot be
read is shown as unreadable. Texts hold no control characters, and their length and number are bounded.
"""

import datetime
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, dump_certificate

T = TypeVar("T")
E = TypeVar("E", bound=x509.ExtensionType)

UNREADABLE = "(unreadable)"
MAX_TEXT_CHARACTERS = 300
MAX_NAMES = 100
MAX_CERTIFICATES = 20

_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_NAME_PREFIXES: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCertificate:
    """One certificate of the chain that an upstream presented.

    Names are RFC 4514 strings, subject alternative names are written `DNS:x`, `IP:192.0.2.1`, `URI:spiffe://x`; at most
    MAX_NAMES of them. `serial_number` and `fingerprint_sha256` are lower-case hex. `key_type` is `EC P-256`,
    `RSA 2048` or the like. Times are None when they cannot be read.
    """

    subject: str
    issuer: str
    serial_number: str
    not_before: datetime.datetime | None
    not_after: datetime.datetime | None
    subject_alt_names: tuple[str, ...]
    fingerprint_sha256: str
    key_type: str
    is_ca: bool


def presented_chain(session: SSL.Connection) -> tuple[X509, ...]:
    """The certificates that the upstream sent, its own first, also when they were refused."""
    try:
        return tuple((session.get_peer_cert_chain() or [])[:MAX_CERTIFICATES])
    except Exception:  # noqa: BLE001 (what a stranger sent must not stop the report about it)
        return ()


def acceptable_ca_names(session: SSL.Connection) -> tuple[str, ...]:
    """The CA names of the upstream's CertificateRequest as RFC 4514 strings, in its order."""
    try:
        names = session.get_client_ca_list(as_cryptography=True)
    except Exception:  # noqa: BLE001 (as above)
        return ()
    return tuple(safe_text(name.rfc4514_string()) for name in names[:MAX_NAMES])


def accepted_by(acceptable_names: Sequence[str], chain: Sequence[x509.Certificate]) -> bool:
    """Whether an upstream that accepts these CAs (RFC 4514 strings) takes `chain`, leaf first.

    True when it named none: it then decides by itself (RFC 8446 section 4.2.4). Only names are compared.
    """
    return not acceptable_names or any(issuer_name(link) in acceptable_names for link in chain)


def describe_presented(certificate: X509) -> PresentedCertificate:
    """The facts of one certificate. Never raises."""
    der = dump_certificate(FILETYPE_ASN1, certificate)
    fingerprint = hashlib.sha256(der).hexdigest()
    try:
        parsed = x509.load_der_x509_certificate(der)
    except Exception:  # noqa: BLE001 (OpenSSL accepts certificates that cryptography cannot read)
        return PresentedCertificate(
            subject=UNREADABLE,
            issuer=UNREADABLE,
            serial_number="",
            not_before=None,
            not_after=None,
            subject_alt_names=(),
            fingerprint_sha256=fingerprint,
            key_type=UNREADABLE,
            is_ca=False,
        )
    return PresentedCertificate(
        subject=subject_name(parsed),
        issuer=issuer_name(parsed),
        serial_number=_read(lambda: f"{parsed.serial_number:x}", ""),
        not_before=_read(lambda: parsed.not_valid_before_utc, None),
        not_after=_read(lambda: parsed.not_valid_after_utc, None),
        subject_alt_names=_subject_alt_names(parsed),
        fingerprint_sha256=fingerprint,
        key_type=_read(lambda: _key_type(parsed), UNREADABLE),
        is_ca=_read(lambda: parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, False),
    )


def subject_name(certificate: x509.Certificate) -> str:
    """The subject as an RFC 4514 string."""
    return _name_text(lambda: certificate.subject)


def issuer_name(certificate: x509.Certificate) -> str:
    """The issuer as an RFC 4514 string."""
    return _name_text(lambda: certificate.issuer)


def authority_key_id(certificate: x509.Certificate) -> str:
    """The key identifier of the certificate's issuer in hex, as the certificate names it; empty: it does not."""

    def identifier() -> str:
        return (_extension(certificate, x509.AuthorityKeyIdentifier).key_identifier or b"").hex()

    return _read(identifier, "")


def names_of(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> tuple[str, ...]:
    """The subject alternative names of one kind, without the prefix."""

    def found() -> tuple[str, ...]:
        names = _extension(certificate, x509.SubjectAlternativeName)
        return tuple(safe_text(str(name.value)) for name in names if isinstance(name, kind))[:MAX_NAMES]

    return _read(found, ())


def spki_sha256(certificate: x509.Certificate) -> str:
    """sha256 over SubjectPublicKeyInfo in lower-case hex, the value of a pin; empty for a key that cannot be read."""

    def digest() -> str:
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()

    return _read(digest, "")


def safe_text(text: str) -> str:
    """`text` without what could end a line, change its direction or flood a page."""
    short = text if len(text) <= MAX_TEXT_CHARACTERS else text[:MAX_TEXT_CHARACTERS] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)


def _subject_alt_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = list(_extension(certificate, x509.SubjectAlternativeName))
    except x509.ExtensionNotFound:
        return ()
    except Exception:  # noqa: BLE001 (as in describe_presented)
        return (UNREADABLE,)
    shown = tuple(safe_text(f"{_NAME_PREFIXES.get(type(name), 'other')}:{name.value}") for name in names[:MAX_NAMES])
    return (*shown, f"… and {len(names) - MAX_NAMES} more") if len(names) > MAX_NAMES else shown


def _extension(certificate: x509.Certificate, kind: type[E]) -> E:
    return certificate.extensions.get_extension_for_class(kind).value


def _key_type(certificate: x509.Certificate) -> str:
    match certificate.public_key():
        case rsa.RSAPublicKey() as key:
            return f"RSA {key.key_size}"
        case dsa.DSAPublicKey() as key:
            return f"DSA {key.key_size}"
        case ec.EllipticCurvePublicKey() as key:
            return f"EC {_CURVE_NAMES.get(key.curve.name, key.curve.name)}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
    return certificate.public_key_algorithm_oid.dotted_string


def _name_text(read: Callable[[], x509.Name]) -> str:
    return _read(lambda: safe_text(read().rfc4514_string()), UNREADABLE)


def _read(read: Callable[[], T], otherwise: T) -> T:
    try:
        return read()
    except Exception:  # noqa: BLE001 (a malformed part must not hide the others)
        return otherwise
