"""Certificates and revocation lists that `tests.support.certificates` is too well-behaved for.

Laws of this module: every part can be chosen; what is not chosen is harmless.
"""

import datetime
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.support.certificates import Authority

DAY = datetime.timedelta(days=1)

# Keys are slow to make and nobody looks at them.
KEY = ec.generate_private_key(ec.SECP256R1())

# The library reads what it writes no more; these were made with the openssl command. A root of version 1, P-256, and
# a certificate that it signed with SHA-1, both valid for a hundred years.
ROOT_OF_OLD = x509.load_pem_x509_certificate(b"""-----BEGIN CERTIFICATE-----
MIIBKDCBzwIUMCUFoPBmV8Xue1scwL4rQD93mbYwCgYIKoZIzj0EAwIwFjEUMBIG
A1UEAwwLUm9vdCBvZiBvbGQwIBcNMjYxMTI0MDcxNjM1WhgPMjEyNjEwMzEwNzE2
MzVaMBYxFDASBgNVBAMMC1Jvb3Qgb2Ygb2xkMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEXR2/Xt8E5bOjAt7r75oZ+7ryPgRCOIT+UyKW2h+GQQH59JKFxjCRWaJ3
i3IiUJ8TrXc+X+qN4IGLdfKFPTuXGDAKBggqhkjOPQQDAgNIADBFAiEA6tLlCi/h
4/fxLjia1q5hRF43qrp2UC7Y/HYTNr/CddQCIGM30z8jHJZ3r0crP0wbuJ5Ktv23
RoVpgcUzPx6LwIWq
-----END CERTIFICATE-----
""")
SIGNED_WITH_SHA1 = x509.load_pem_x509_certificate(b"""-----BEGIN CERTIFICATE-----
MIIBGjCBwQIBBzAJBgcqhkjOPQQBMBYxFDASBgNVBAMMC1Jvb3Qgb2Ygb2xkMCAX
DTI2MTEyNDA3MTYzNVoYDzIxMjYxMDMxMDcxNjM1WjAcMRowGAYDVQQDDBFTaWdu
ZWQgd2l0aCBTSEEtMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABF0dv17fBOWz
owLe6++aGfu68j4EQjiE/lMiltofhkEB+fSShcYwkVmid4tyIlCfE613Pl/qjeCB
i3XyhT07lxgwCQYHKoZIzj0EAQNJADBGAiEAhmQfYfhnwIZkpMno+PkG8a9NB5m5
PU2CVeYsSnOHceICIQDWVtlTNG58fX+NgF4xB+droqutYya83er6V2rCRLXdlw==
-----END CERTIFICATE-----
""")


def name(common_name: str) -> x509.Name:
    """A subject of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate(
    common_name: str = "odd",
    *,
    issuer: Authority | None = None,
    key: Any = KEY,
    extensions: Sequence[x509.ExtensionType] = (),
    now: datetime.datetime,
    not_before: datetime.timedelta = -DAY,
    not_after: datetime.timedelta = 90 * DAY,
    digest: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    """A certificate with exactly these extensions; self-signed unless it has an issuer. Times are relative to `now`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(issuer.certificate.subject if issuer else name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + not_before)
        .not_valid_after(now + not_after)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer.key if issuer else key, digest or hashes.SHA256())


def revocation_list(
    authority: Authority,
    *revoked: int,
    now: datetime.datetime,
    last_update: datetime.timedelta = -DAY,
    next_update: datetime.timedelta = 7 * DAY,
) -> x509.CertificateRevocationList:
    """The list of `authority` with these serial numbers."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now + last_update)
        .next_update(now + next_update)
    )
    for serial_number in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(now + last_update)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256())


def pem(*parts: x509.Certificate | x509.CertificateRevocationList) -> str:
    """The parts as one PEM text."""
    return "".join(part.public_bytes(Encoding.PEM).decode() for part in parts)
