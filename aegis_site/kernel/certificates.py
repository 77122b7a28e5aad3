"""What a certificate says, as plain values: for the admin, the API, and whoever compares certificates.

Laws of this module: no Django, no judgement (nothing here decides whether a certificate is good), no private keys.
"""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

# The curves' names in FIPS 186, which is what operators read elsewhere; other curves keep the name of SEC 2.
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_NAME_PREFIXES: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """One certificate, described.

    `subject` and `issuer` are RFC 4514 strings. `serial_number` and `fingerprint_sha256` are lower-case hex, two digits
    an octet, without separators. `subject_alt_names` are written `DNS:x`, `IP:192.0.2.1`, `URI:spiffe://x`, `email:x`,
    `dirName:CN=x`, `RID:1.2.3`, `otherName:1.2.3`. `key_type` is `RSA`, `EC P-256`, `Ed25519` and the like, or the
    dotted object identifier of an algorithm that is not known here; `key_bits` is then 0.
    """

    subject: str
    issuer: str
    serial_number: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    subject_alt_names: tuple[str, ...]
    fingerprint_sha256: str
    key_type: str
    key_bits: int
    is_ca: bool


def describe(certificate: x509.Certificate) -> CertificateFacts:
    """The facts of `certificate`.

    Loading a certificate parses its outside only. Raises ValueError when the inside is malformed, with a text that is
    safe to show.
    """
    try:
        key_type, key_bits = _key(certificate)
        return CertificateFacts(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            serial_number=_hex(certificate.serial_number),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            subject_alt_names=_subject_alt_names(certificate),
            fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            key_type=key_type,
            key_bits=key_bits,
            is_ca=_is_ca(certificate),
        )
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError("the certificate is malformed: a name, a key or an extension in it cannot be read") from error


def _hex(serial_number: int) -> str:
    """Two digits an octet, as OpenSSL and nginx print it. Negative numbers occur and are malformed (RFC 5280)."""
    digits = format(abs(serial_number), "x")
    return "-" * (serial_number < 0) + "0" * (len(digits) % 2) + digits


def _key(certificate: x509.Certificate) -> tuple[str, int]:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        key = None
    match key:
        case rsa.RSAPublicKey() | dsa.DSAPublicKey():
            return "RSA" if isinstance(key, rsa.RSAPublicKey) else "DSA", key.key_size
        case ec.EllipticCurvePublicKey():
            return f"EC {_CURVE_NAMES.get(key.curve.name, key.curve.name)}", key.key_size
        case ed25519.Ed25519PublicKey():
            return "Ed25519", 256
        case ed448.Ed448PublicKey():
            return "Ed448", 456
    return certificate.public_key_algorithm_oid.dotted_string, 0


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _subject_alt_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_general_name(name) for name in names)


def _general_name(name: x509.GeneralName) -> str:
    match name:
        case x509.DirectoryName():
            return f"dirName:{name.value.rfc4514_string()}"
        case x509.RegisteredID():
            return f"RID:{name.value.dotted_string}"
        case x509.OtherName():
            return f"otherName:{name.type_id.dotted_string}"
    return f"{_NAME_PREFIXES[type(name)]}:{name.value}"
