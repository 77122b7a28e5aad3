"""Reads the certificates and keys that operators paste, and says in plain words what is wrong with them.

Laws of this module:
- Whatever the input, the outcome is a value or a `CredentialProblem`, within a fraction of a second.
- OpenSSL's texts never reach a user, and no text holds more of the input than a PEM label.
- Nothing here judges trust or time; it only answers whether the material can be used at all.
"""

import hashlib
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import load_pem_pkcs7_certificates

from upstream_tls.tls.derivation import check_derivation_cost
from upstream_tls.tls.pem import MAX_BLOCKS, CredentialProblem, PEMBlock, split_pem

__all__ = [
    "CredentialProblem",
    "PrivateKey",
    "certificate_spki_sha256",
    "chain_to_pem",
    "check_pair",
    "check_pair_by_fingerprint",
    "key_spki_sha256",
    "key_to_pem",
    "parse_ca_bundle",
    "parse_chain",
    "parse_key",
]

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

KEY_MISMATCH_MESSAGE = "tls: private key does not match public key"

# OpenSSL signs with at most 16384 bits (OPENSSL_RSA_MAX_MODULUS_BITS); such a key has 9.3 KB of DER, 12.6 KB of PEM.
MAX_KEY_PEM_BYTES = 16 * 1024

# A TLS stack takes at most 100 KiB of certificates from its peer (OpenSSL's SSL_MAX_CERT_LIST_DEFAULT), chain included.
MAX_CERTIFICATE_PEM_BYTES = 64 * 1024
# Public CAs issue at most 100 to 250 names.
MAX_SUBJECT_ALT_NAMES = 1000

# OpenSSL's default security level (SSL_CTX_set_security_level(3)) refuses smaller ones when a session is set up.
MIN_RSA_BITS = 2048

# What cryptography raises for a certificate that is not one. Most of them are no ValueErrors.
_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

# The curves that TLS 1.2 and 1.3 can sign with (RFC 8446 section 4.2.3).
TLS_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def parse_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a chain as they stand: leaf first, at least one. Raises CredentialProblem."""
    return _certificates(pem)


def parse_ca_bundle(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a CA bundle, at least one. Raises CredentialProblem."""
    return _certificates(pem)


def chain_to_pem(certificates: tuple[x509.Certificate, ...]) -> str:
    """The certificates as canonical PEM, without anything between them."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates)


def parse_key(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """The one private key in `pem`; PKCS#8, PKCS#1 and SEC 1, encrypted or not. Raises CredentialProblem.

    The parts of an RSA key are checked against each other, but its primes are not tested: that takes OpenSSL seconds
    for a large key, in every process that loads it, and protects nobody but the key's owner.
    """
    block = _key_block(pem)
    check_derivation_cost(block)
    try:
        key = load_pem_private_key(block.text, passphrase or None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        if passphrase:
            return parse_key(pem)  # a passphrase for a key that needs none
        raise CredentialProblem("key_encrypted", "This key is encrypted: its passphrase is needed.") from error
    except ValueError as error:
        if passphrase and _is_encrypted(block):
            raise CredentialProblem("key_wrong_passphrase", "The passphrase does not open this key.") from error
        raise CredentialProblem("bad_pem", "The private key is damaged or incomplete.") from error
    except UnsupportedAlgorithm as error:
        raise CredentialProblem("bad_pem", "The type or the encryption of this key is not supported.") from error
    return _usable(key)


def check_pair(chain: tuple[x509.Certificate, ...], key: PrivateKey) -> None:
    """Raises CredentialProblem `key_mismatch` unless `key` is the private key of the chain's leaf."""
    check_pair_by_fingerprint(chain, key_spki_sha256(key))


def check_pair_by_fingerprint(chain: tuple[x509.Certificate, ...], spki_sha256: str) -> None:
    """As `check_pair`, for a key of which only the `key_spki_sha256` is at hand."""
    if certificate_spki_sha256(chain[0]) != spki_sha256:
        raise CredentialProblem("key_mismatch", KEY_MISMATCH_MESSAGE)


def certificate_spki_sha256(certificate: x509.Certificate) -> str:
    """As `key_spki_sha256`, of the key that a certificate is for. Raises CredentialProblem for an unknown key type."""
    try:
        return _spki_sha256(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialProblem("bad_pem", "The certificate's public key is of an unsupported type.") from error


def key_spki_sha256(key: PrivateKey) -> str:
    """sha256 over the public key's SubjectPublicKeyInfo, in hex: names a key without giving it away."""
    return _spki_sha256(key.public_key())


def key_to_pem(key: PrivateKey) -> bytes:
    """The key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _spki_sha256(key: PublicKeyTypes) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    blocks = split_pem(pem)
    # Certificates are stored and shown in clear, so a key that came along must never be taken with them.
    if any(block.is_private_key for block in blocks):
        raise CredentialProblem("pem_swapped", "This holds a private key: only certificates belong here.")
    if strangers := sorted({block.label for block in blocks if not (block.is_certificate or block.is_pkcs7)}):
        raise CredentialProblem("bad_pem", f"This holds a {strangers[0]}: only certificates belong here.")
    if not blocks:
        raise CredentialProblem("bad_pem", "This is not PEM: the line -----BEGIN CERTIFICATE----- is missing.")
    certificates = [
        certificate
        for number, block in enumerate(blocks, start=1)
        for certificate in (_pkcs7(block) if block.is_pkcs7 else [_certificate(block, number)])
    ]
    if len(certificates) > MAX_BLOCKS:
        raise CredentialProblem("bad_pem", f"This holds more than {MAX_BLOCKS} certificates.")
    return tuple(certificates)


def _certificate(block: PEMBlock, number: int) -> x509.Certificate:
    if len(block.text) > MAX_CERTIFICATE_PEM_BYTES:
        raise CredentialProblem(
            "bad_pem", f"Certificate {number} is larger than {MAX_CERTIFICATE_PEM_BYTES // 1024} KiB."
        )
    try:
        certificate = x509.load_pem_x509_certificate(block.text)
        # Loading parses the outside only; what OpenSSL will need later must be readable now.
        _ = (certificate.subject, certificate.issuer)
        name_count = _subject_alt_name_count(certificate.extensions)
    except _MALFORMED as error:
        raise CredentialProblem("bad_pem", f"Certificate {number} is damaged or incomplete.") from error
    if name_count > MAX_SUBJECT_ALT_NAMES:
        raise CredentialProblem(
            "bad_pem", f"Certificate {number} has {name_count} names; at most {MAX_SUBJECT_ALT_NAMES} are accepted."
        )
    return certificate


def _subject_alt_name_count(extensions: x509.Extensions) -> int:
    try:
        return len(list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value))
    except x509.ExtensionNotFound:
        return 0


def _pkcs7(block: PEMBlock) -> list[x509.Certificate]:
    """The certificates of a PKCS#7 bundle (.p7b), which Windows CAs hand out; each is checked like any other."""
    try:
        found = load_pem_pkcs7_certificates(block.text)
    except _MALFORMED as error:
        raise CredentialProblem("bad_pem", "The PKCS#7 bundle is damaged or holds no certificates.") from error
    blocks = [PEMBlock("CERTIFICATE", certificate.public_bytes(Encoding.PEM)) for certificate in found[:MAX_BLOCKS]]
    return [_certificate(inner, number) for number, inner in enumerate(blocks, start=1)]


def _key_block(pem: bytes) -> PEMBlock:
    blocks = split_pem(pem)
    keys = [block for block in blocks if block.is_private_key]
    if not keys and any(block.is_certificate for block in blocks):
        raise CredentialProblem("pem_swapped", "This is a certificate: the private key belongs here.")
    if not keys:
        raise CredentialProblem("bad_pem", "This is not PEM: the line -----BEGIN PRIVATE KEY----- is missing.")
    if len(keys) > 1:
        raise CredentialProblem("bad_pem", "This holds more than one private key.")
    if keys[0].label == "OPENSSH PRIVATE KEY":
        raise CredentialProblem("bad_pem", "This is an OpenSSH key: convert it with ssh-keygen -p -m PKCS8 -f FILE.")
    if len(keys[0].text) > MAX_KEY_PEM_BYTES:
        raise CredentialProblem("bad_pem", f"The private key is larger than {MAX_KEY_PEM_BYTES // 1024} KiB.")
    return keys[0]


def _is_encrypted(block: PEMBlock) -> bool:
    return block.label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in block.text


def _usable(key: object) -> PrivateKey:
    match key:
        case rsa.RSAPrivateKey():
            if key.key_size < MIN_RSA_BITS:
                raise CredentialProblem("weak_key", f"TLS needs an RSA key of at least {MIN_RSA_BITS} bits.")
            _check_rsa(key)
            return key
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, TLS_CURVES):
            return key
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return key
    raise CredentialProblem("bad_pem", "TLS needs an RSA, EC (P-256, P-384, P-521), Ed25519 or Ed448 key.")


def _check_rsa(key: rsa.RSAPrivateKey) -> None:
    """The relations of RFC 8017 section 3.2 between the numbers of the key."""
    numbers = key.private_numbers()
    modulus, exponent = numbers.public_numbers.n, numbers.public_numbers.e
    p, q, d = numbers.p, numbers.q, numbers.d
    consistent = (
        p > 2
        and q > 2
        and p % 2 == q % 2 == 1
        and p * q == modulus
        and exponent * d % (p - 1) == 1
        and exponent * d % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )
    if not consistent:
        raise CredentialProblem("bad_pem", "The private key is damaged or incomplete.")
