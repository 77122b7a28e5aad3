"""The certificates of the zoo: good ones, and each kind of bad one.

Laws of this module: everything follows from a seed and a moment, byte for byte, so that two processes which share both
agree about every key and certificate. Nothing here protects anything: the keys are for upstreams on loopback.
"""

import datetime
import functools
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)

# The name that every member's certificate is for, unless that is what is wrong with it.
SERVER_NAME = "zoo.internal"

DAY = datetime.timedelta(days=1)
_LIFETIME = 3650 * DAY

# The order of P-256 (SP 800-186 section 3.2.1.3).
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# sha256WithRSAEncryption and sha1WithRSAEncryption (RFC 4055, RFC 3279), DER.
_SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
_SHA1_WITH_RSA = bytes.fromhex("06092a864886f70d010105")

# Critical and unknown to everybody, so that the certificate must be refused (RFC 5280 section 4.2).
_ODD_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.7"), b"\x05\x00")

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate with its key; `above` are the certificates to send after it."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain_pem(self) -> bytes:
        """The certificate, then those above it."""
        return b"".join(map(pem, (self.certificate, *self.above)))

    @property
    def key_pem(self) -> bytes:
        """Unencrypted PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def alone(self) -> "Identity":
        """The same without what is above it."""
        return Identity(certificate=self.certificate, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """How a certificate differs from a good one; what is None is as it should be."""

    names: Sequence[str] | None = None
    usages: Sequence[x509.ObjectIdentifier] = SERVER
    starts: datetime.timedelta = -DAY
    ends: datetime.timedelta = _LIFETIME
    key: Key | None = field(default=None, repr=False)
    path_length: int | None = None
    has_key_id: bool = True
    has_odd_extension: bool = False


GOOD = Wrong()


class PKI:
    """A maker of certificates. Labels are common names; equal labels have equal keys."""

    def __init__(self, seed: bytes, now: datetime.datetime) -> None:
        self._seed = seed
        self.now = now.replace(microsecond=0)
        self.root = self.authority("Zoo CA")
        self.clients_root = self.authority("Zoo client CA")
        self.stranger = self.authority("Some other CA")
        self.intermediate = self.authority("Zoo intermediate CA", issuer=self.root)

    def key(self, label: str) -> ec.EllipticCurvePrivateKey:
        """The P-256 key of a label."""
        digest = hashlib.sha512(self._seed + label.encode()).digest()
        return ec.derive_private_key(int.from_bytes(digest, "big") % (_P256_ORDER - 1) + 1, ec.SECP256R1())

    def strong_key(self) -> ec.EllipticCurvePrivateKey:
        """A P-384 key."""
        return ec.derive_private_key(int.from_bytes(hashlib.sha256(self._seed).digest(), "big"), ec.SECP384R1())

    def authority(self, label: str, *, issuer: Identity | None = None, wrong: Wrong = GOOD) -> Identity:
        """A CA: a root, or with `issuer` an intermediate."""
        key = wrong.key or self.key(label)
        name = _name(label)
        builder = self._builder(label, name, issuer.certificate.subject if issuer else name, key, wrong)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=wrong.path_length), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        certificate = self._sign(builder, issuer.key if issuer else key)
        return Identity(certificate=certificate, key=key, above=_above(issuer))

    def server(self, label: str = SERVER_NAME, *, issuer: Identity | None = None, wrong: Wrong = GOOD) -> Identity:
        """A server's certificate for SERVER_NAME, unless `wrong` says otherwise."""
        return self._leaf(label, issuer or self.root, wrong, wrong.names if wrong.names is not None else (SERVER_NAME,))

    def client(
        self, label: str = "aegis-zoo-client", *, issuer: Identity | None = None, wrong: Wrong | None = None
    ) -> Identity:
        """A client's certificate, which the good upstreams accept."""
        return self._leaf(label, issuer or self.clients_root, wrong or Wrong(usages=CLIENT), ())

    def self_signed(self, label: str = SERVER_NAME) -> Identity:
        """A server's certificate that is its own issuer."""
        key = self.key(label)
        builder = self._builder(label, _name(label), _name(label), key, GOOD).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False
        )
        return Identity(certificate=self._sign(builder, key), key=key)

    def crl(
        self, issuer: Identity, revoked: Sequence[x509.Certificate] = (), *, ends: datetime.timedelta = _LIFETIME
    ) -> x509.CertificateRevocationList:
        """The issuer's list."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(self.now - 30 * DAY)
            .next_update(self.now + ends)
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(self.now - DAY).build())
        return builder.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=_is_ec(issuer.key))

    def _leaf(self, label: str, issuer: Identity, wrong: Wrong, names: Sequence[str]) -> Identity:
        key = wrong.key or self.key(label)
        builder = self._builder(label, _name(label), issuer.certificate.subject, key, wrong)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if wrong.has_key_id:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        if wrong.usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(wrong.usages), critical=False)
        if wrong.has_odd_extension:
            builder = builder.add_extension(_ODD_EXTENSION, critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False
            )
        return Identity(certificate=self._sign(builder, issuer.key), key=key, above=_above(issuer))

    def _builder(
        self, label: str, subject: x509.Name, issuer: x509.Name, key: Key, wrong: Wrong
    ) -> x509.CertificateBuilder:
        # Certificates of one issuer need different numbers (RFC 5280 section 4.1.2.2).
        what = repr((label, issuer.rfc4514_string(), wrong.names, wrong.usages, wrong.starts, wrong.ends)).encode()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(hashlib.sha256(self._seed + what).digest()[:16], "big") | 1)
            .not_valid_before(self.now + wrong.starts)
            .not_valid_after(self.now + wrong.ends)
        )

    @staticmethod
    def _sign(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
        return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=_is_ec(key))


def signed_with_sha1(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The same certificate of an RSA CA with a SHA-1 signature, which no library makes any more."""
    der = certificate.public_bytes(Encoding.DER)
    content = certificate.tbs_certificate_bytes.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    signature = key.sign(content, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 (to show that it is refused)
    begin = der[: der.index(certificate.tbs_certificate_bytes)]
    rest = der[len(begin) + len(content) : -len(signature)].replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    return x509.load_der_x509_certificate(begin + content + rest + signature)


@functools.cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key, the one thing that does not follow from the seed: no certificate of another process holds it."""
    return rsa.generate_private_key(65537, bits)


def pem(certificate: x509.Certificate) -> bytes:
    """One certificate."""
    return certificate.public_bytes(Encoding.PEM)


def _is_ec(key: Key) -> bool | None:
    """Whether to sign as RFC 6979 says; None for RSA, whose PKCS #1 v1.5 is deterministic anyway."""
    return isinstance(key, ec.EllipticCurvePrivateKey) or None


def _above(issuer: Identity | None) -> tuple[x509.Certificate, ...]:
    """What is sent after a certificate of this issuer: never a root."""
    if issuer is None or issuer.certificate.issuer == issuer.certificate.subject:
        return ()
    return (issuer.certificate, *issuer.above)


def _name(label: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
