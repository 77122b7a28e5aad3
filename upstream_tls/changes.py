"""What a caller wants changed about a host's upstream TLS, as one typed value.

Laws of this module: plain values; a secret never shows in a repr.
"""

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

    Certificates and the key are PEM text; an empty text clears what is stored. `client_key_passphrase` opens an
    encrypted `client_key` now and is forgotten.
    """

    enabled: bool | Keep = KEEP
    client_certificate: str | Keep = KEEP
    client_key: str | Keep = field(default=KEEP, repr=False)
    client_key_passphrase: str = field(default="", repr=False)
    ca_certificate: str | Keep = KEEP
    skip_verify: bool | Keep = KEEP
    server_name: str | Keep = KEEP
