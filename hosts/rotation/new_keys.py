"""A key for a renewal, made before the transaction that uses it.

Laws of this module: no database. The key is in memory until it is sealed in its rotation.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from localca.keys import UnsupportedKey, generate_key, key_to_pem, supported_key
from localca.models import IssuedCertificate
from localca.services import IssuanceError


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A private key as PKCS#8 PEM, and a signing request for it. The CA takes nothing else from the request."""

    key_pem: str = field(repr=False)
    csr_pem: str


def key_like(certificate: IssuedCertificate) -> NewKey:
    """A new key of the certificate's type; RSA 4096 takes seconds. Raises IssuanceError (`issuance_failed`)."""
    try:
        key = generate_key(supported_key(certificate.certificate.public_key())[1])
    except UnsupportedKey as error:
        raise IssuanceError("issuance_failed", str(error)) from error
    # RFC 8032: Ed25519 brings its own hash.
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    return NewKey(
        key_pem=key_to_pem(key).decode("ascii"),
        csr_pem=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
    )
