"""What the certificates of the local CA look like, and the proof that one looks so.

Laws of this module: no Django, no clock (time is an argument), no storage. A leaf leaves `build_leaf` only after an
independent path validation has accepted it for its purpose.
"""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localca.keys import PublicKey

ROOT_VALIDITY = datetime.timedelta(days=3652)  # ten years, two or three leap days included

# The CA/Browser Forum allows 398 days, so that clients with that limit built in accept what is issued here; one day
# less than that because both ends of a validity count (RFC 5280 section 4.1.2.5).
LEAF_VALIDITY = datetime.timedelta(days=397)

# What may be asked for. Apple's systems refuse certificates of private CAs, too, that are valid for longer.
LEAF_VALIDITY_MAX = datetime.timedelta(days=825)

# Peers whose clocks run late accept a certificate that was issued a moment ago.
BACKDATE = datetime.timedelta(minutes=5)

_NO_KEY_USAGE = dict.fromkeys(
    [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ],
    False,
)


class ProfileError(ValueError):
    """A certificate cannot be issued as asked, or came out other than its profile says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A CA's certificate with its private key, open in memory."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"Issuer({self.certificate.subject.rfc4514_string()!r})"


def certificate_to_pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def build_root(*, common_name: str, now: datetime.datetime) -> Issuer:
    """A new self-signed root with a new key.

    Path length 1 leaves room for one intermediate beneath it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(key.public_key(), subject=name, issuer=name)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + ROOT_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issuer(certificate=certificate, key=key)


def build_leaf(
    *,
    issuer: Issuer,
    purpose: x509.ObjectIdentifier,
    common_name: str,
    names: list[x509.GeneralName],
    public_key: PublicKey,
    now: datetime.datetime,
    validity: datetime.timedelta = LEAF_VALIDITY,
) -> x509.Certificate:
    """A certificate for exactly one purpose (`CLIENT_AUTH` or `SERVER_AUTH`), proved before it is returned.

    `names` become the subject alternative names; there must be one. The validity stays within the issuer's. Raises
    ProfileError when the issuer has expired, or when the proof fails.
    """
    root = issuer.certificate
    if not root.not_valid_before_utc <= now < root.not_valid_after_utc:
        raise ProfileError("the CA's own certificate is not valid at this time")
    authority_key_identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    leaf = (
        _builder(public_key, subject=_name(common_name), issuer=root.subject)
        .not_valid_before(max(now - BACKDATE, root.not_valid_before_utc))
        .not_valid_after(min(now + validity, root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # RSA keys too: key encipherment is for TLS 1.2 without forward secrecy.
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_key_identifier, critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    _check_contents(leaf, root=root, purpose=purpose, names=names, public_key=public_key)
    verify_leaf(leaf, root=root, purpose=purpose, now=now)
    return leaf


def _check_contents(
    leaf: x509.Certificate,
    *,
    root: x509.Certificate,
    purpose: x509.ObjectIdentifier,
    names: list[x509.GeneralName],
    public_key: PublicKey,
) -> None:
    """What no path validation looks at, read back from the signed bytes. Raises ProfileError."""
    leaf = x509.load_der_x509_certificate(leaf.public_bytes(serialization.Encoding.DER))
    extensions = leaf.extensions
    requirements = {
        "it is for another key": leaf.public_key() == public_key,
        "it has another purpose": list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose],
        "it has other names": list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names,
        # CA/Browser Forum, Baseline Requirements 7.1: at least 64 bits from a CSPRNG. Of 159 random bits that fewer
        # than 64 are in use has a probability of 2^-95: then the generator is broken.
        "its serial number is too short": leaf.serial_number.bit_length() >= 64,
        "it outlives its CA": root.not_valid_before_utc <= leaf.not_valid_before_utc
        and leaf.not_valid_after_utc <= root.not_valid_after_utc,
    }
    if failed := [problem for problem, holds in requirements.items() if not holds]:
        raise ProfileError(f"the new certificate is not as asked for: {', '.join(failed)}")


def verify_leaf(
    leaf: x509.Certificate, *, root: x509.Certificate, purpose: x509.ObjectIdentifier, now: datetime.datetime
) -> None:
    """Validates the path from `leaf` to `root` for `purpose`, as a careful peer would. Raises ProfileError."""
    policy = verification.PolicyBuilder().store(verification.Store([root])).time(now)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        if purpose == ExtendedKeyUsageOID.CLIENT_AUTH:
            policy.build_client_verifier().verify(leaf, [])
        else:
            policy.build_server_verifier(_subject_to_expect(names)).verify(leaf, [])
    except verification.VerificationError as error:
        raise ProfileError(f"the new certificate does not verify: {error}") from error


def _subject_to_expect(names: x509.SubjectAlternativeName) -> verification.Subject:
    """What a client would ask the server for: the first name, with a wildcard filled in."""
    for name in names:
        if isinstance(name, x509.DNSName):
            return x509.DNSName(name.value.replace("*", "any", 1))
        if isinstance(name, x509.IPAddress):
            return name
    raise ProfileError("a server certificate needs a DNS name or an IP address")


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(public_key: PublicKey, *, subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())  # 159 random bits: positive, 20 octets at most (RFC 5280 4.1.2.2)
    )


def _key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**(_NO_KEY_USAGE | dict.fromkeys(usages, True)))
