"""Certificates for tests: good ones by default, wrong in exactly the way that a test asks for.

Laws of this module: independent of the product's own issuing code, so that neither hides the other's mistakes.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate with its key. `chain_pem` has the intermediates after it, never the root."""

    certificate: x509.Certificate
    chain_pem: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def key_pem(self) -> str:
        """Unencrypted PKCS#8."""
        return self._key(serialization.NoEncryption())

    def encrypted_key_pem(self, passphrase: str) -> str:
        return self._key(serialization.BestAvailableEncryption(passphrase.encode()))

    @property
    def key_der(self) -> bytes:
        """PKCS#8 in DER, and within it the private scalar."""
        return self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _key(self, encryption: serialization.KeySerializationEncryption) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        ).decode()


class Authority:
    """A CA: a root, or with `parent` an intermediate."""

    def __init__(self, common_name: str = "Test CA", parent: "Authority | None" = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.parent = parent
        self.certificate = (
            _builder(common_name, self.key, issuer=parent.certificate.subject if parent else None)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(parent.key if parent else self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        """This CA's certificate."""
        return _pem(self.certificate)

    @property
    def key_pem(self) -> str:
        """Its private key as unencrypted PKCS#8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def client(self, common_name: str = "client", **wrong: object) -> Leaf:
        """A certificate for a TLS client. `wrong` as in `issue`."""
        return self.issue(common_name, **{"usages": CLIENT, **wrong})  # type: ignore[arg-type]

    def server(self, *names: str, **wrong: object) -> Leaf:
        """A certificate for a TLS server of these DNS names or IP addresses. `wrong` as in `issue`."""
        return self.issue(names[0] if names else "server", **{"names": names, "usages": SERVER, **wrong})  # type: ignore[arg-type]

    def issue(
        self,
        common_name: str,
        *,
        names: Sequence[str] = (),
        usages: Sequence[x509.ObjectIdentifier] = (),
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> Leaf:
        """A leaf. No `names`: no subject alternative name; no `usages`: no extended key usage."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(common_name, key, self.certificate.subject, not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(ca=False), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        certificate = builder.sign(self.key, hashes.SHA256())
        return Leaf(certificate=certificate, chain_pem=_pem(certificate) + self._intermediates_pem(), key=key)

    def _intermediates_pem(self) -> str:
        return "" if self.parent is None else self.pem + self.parent._intermediates_pem()


def expired() -> dict[str, datetime.datetime]:
    """For `client(**expired())`: over since yesterday."""
    now = datetime.datetime.now(datetime.UTC)
    return {"not_before": now - 30 * DAY, "not_after": now - DAY}


def not_yet_valid() -> dict[str, datetime.datetime]:
    """For `client(**not_yet_valid())`: from tomorrow."""
    now = datetime.datetime.now(datetime.UTC)
    return {"not_before": now + DAY, "not_after": now + 30 * DAY}


def _builder(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name | None,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now - DAY)
        .not_valid_after(not_after or now + 90 * DAY)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    """An IP address, or else any text as a DNS name: `*` and `a.*.b` as well; `DNS:8.8.8.8` forces the DNS name."""
    if name.startswith("DNS:"):
        return x509.DNSName(name.removeprefix("DNS:"))
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
