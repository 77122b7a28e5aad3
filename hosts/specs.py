"""What a caller wants a host to be, as typed values.

Laws of this module: plain values; what is not given is KEEP: the stored value, or the default of a new host.
"""

import uuid
from dataclasses import dataclass, field

from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSpec:
    """One upstream. `upstream_id` names the stored one that it replaces; without it, the same target keeps its id."""

    address: str
    port: int
    scheme: str = "https"
    enabled: bool = True
    upstream_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamTLSChanges:
    """New values for a `DownstreamTLSConfiguration`.

    Certificate and key are PEM text; an empty certificate clears both. The rest of the upload is as in
    `UpstreamTLSChanges`. `issue` asks the local CA for a certificate of all domains of the host, instead of an upload.
    """

    certificate: str | Keep = field(default=KEEP, repr=False)
    key: str | Keep = field(default=KEEP, repr=False)
    pkcs12: bytes | Keep = field(default=KEEP, repr=False)
    key_passphrase: str = field(default="", repr=False)
    issue: bool | Keep = KEEP
    force_https: bool | Keep = KEEP
    hsts_max_age_s: int | Keep = KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """A host, or the parts of it that change. `domains` and `upstreams` are whole and in order."""

    name: str | Keep = KEEP
    domains: tuple[str, ...] | Keep = KEEP
    enabled: bool | Keep = KEEP
    preserve_host: bool | Keep = KEEP
    websockets: bool | Keep = KEEP
    upstreams: tuple[UpstreamSpec, ...] | Keep = KEEP
    upstream_tls: UpstreamTLSChanges = field(default_factory=UpstreamTLSChanges)
    downstream_tls: DownstreamTLSChanges = field(default_factory=DownstreamTLSChanges)
