"""What a caller wants a host to be, as typed values.

Laws of this module: plain values; what is not given is KEEP: the stored value, or the default of a new host.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSpec:
    """One upstream. `upstream_id` names the stored one that it replaces; without it, the same target keeps its id.

    `brings_id`: the id is that of no stored upstream, of any host, and a new one is to have it.
    """

    address: str
    port: int
    scheme: str = "https"
    enabled: bool = True
    weight: int = 1
    backup: bool = False
    drain: bool = False
    upstream_id: uuid.UUID | None = None
    brings_id: bool = False


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
class HeaderRuleSpec:
    """One change to a header section, as `proxyworker.snapshot.HeaderRule`.

    A `value` that is not given is that of the stored rule of this action and name; a rule that removes has none. It is
    stored as a secret when it is `sensitive`, or looks as if it were.
    """

    action: str
    name: str
    # May be a token for the upstream.
    value: str | Keep = field(default=KEEP, repr=False)
    sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """A host, or the parts of it that change. `domains`, `tags`, `upstreams` and header rules are whole lists.

    `timeouts`, `passive_health`, `retries` and `limits` have new values by name, as in `proxyworker.snapshot`
    (`timeouts`: Deadlines); what they do not name is kept. So have `sections`, by the name of the section
    (`hosts.sections`).
    """

    name: str | Keep = KEEP
    domains: tuple[str, ...] | Keep = KEEP
    tags: tuple[str, ...] | Keep = KEEP
    enabled: bool | Keep = KEEP
    preserve_host: bool | Keep = KEEP
    websockets: bool | Keep = KEEP
    access_log: bool | Keep = KEEP
    load_balancing: str | Keep = KEEP
    upstreams: tuple[UpstreamSpec, ...] | Keep = KEEP
    upstream_tls: UpstreamTLSChanges = field(default_factory=UpstreamTLSChanges)
    downstream_tls: DownstreamTLSChanges = field(default_factory=DownstreamTLSChanges)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    passive_health: Mapping[str, float] = field(default_factory=dict)
    retries: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    request_headers: tuple[HeaderRuleSpec, ...] | Keep = KEEP
    response_headers: tuple[HeaderRuleSpec, ...] | Keep = KEEP
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
