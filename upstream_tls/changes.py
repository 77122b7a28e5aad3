"""What a caller wants changed about a host's upstream TLS, as one typed value.

Laws of this module: plain values; a secret never shows in a repr.
"""

import datetime
from dataclasses import dataclass, field
from enum import Enum


class Keep(Enum):
    """The one value that means: leave it as it is (a new row: take the default)."""

    KEEP = "keep"

    def __repr__(self) -> str:
        return "KEEP"


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTLSChanges:
    """New values for an `UpstreamTLSConfiguration`.

    Certificates, the key and revocation lists are PEM text; an empty text clears what is stored. A private key in
    `client_certificate` counts as `client_key` when there is none. `client_pkcs12` is a whole PKCS#12 file and brings
    certificate and key together. `client_key_passphrase` opens whichever of them is encrypted, now, and is forgotten.
    """

    enabled: bool | Keep = KEEP
    client_certificate: str | Keep = field(default=KEEP, repr=False)
    client_key: str | Keep = field(default=KEEP, repr=False)
    client_pkcs12: bytes | Keep = field(default=KEEP, repr=False)
    client_key_passphrase: str = field(default="", repr=False)
    ca_certificate: str | Keep = KEEP
    skip_verify: bool | Keep = KEEP
    skip_verify_reason: str | Keep = KEEP
    skip_verify_until: datetime.datetime | Keep | None = KEEP
    server_name: str | Keep = KEEP
    verify_name: str | Keep = KEEP
    min_version: str | Keep = KEEP
    max_version: str | Keep = KEEP
    ciphers: str | Keep = KEEP
    alpn: tuple[str, ...] | Keep = KEEP
    crl: str | Keep = KEEP
    pinned_spki_sha256: tuple[str, ...] | Keep = KEEP
    verify_depth: int | Keep | None = KEEP
