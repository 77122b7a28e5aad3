"""The contract between the control plane (Django) and the data plane (the worker).

Laws of this module:
- Frozen dataclasses of plain values only; no Django, no Twisted, no live objects.
- A private key is never a field here. It travels sealed beside the entry and is opened by `LoadedEntry.open_client_key`
  or `open_downstream_key` when the TLS context is built (docs/adr/0004).
- `HostEntry` <-> canonical JSON is lossless. The digest is the sha256 of that JSON; equal digest means nothing to do.
  Keys take part through `client_key_spki_sha256` and `key_spki_sha256`, which are public.
- Any change of shape raises SCHEMA_VERSION. A worker refuses entries of a version that it does not know, and the host
  answers 502 with that reason; other hosts are not touched.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 3

# The Redis channel on which the control plane announces a new generation (the message is the number in ASCII).
GENERATION_CHANNEL = "aegis:generation"

Scheme = Literal["http", "https"]


class SnapshotError(ValueError):
    """An entry that this version cannot read. The text says what and where, and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One backend of a host. `address` is a DNS name or an IP literal without brackets."""

    upstream_id: str
    scheme: Scheme
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTLS:
    """How the worker and the https upstreams of a host prove themselves to each other.

    `client_certificate` is a PEM chain, leaf first; empty: no certificate is presented.
    `ca_certificate` is a PEM bundle; empty: the system trust store.
    `server_name` is the SNI and, unless `verify_name` is set, the name checked; empty: the upstream's address (no SNI
    when that is an IP address). The rest is as in `upstream_tls.tls.spec`; `crl` is PEM.
    """

    client_certificate: str = ""
    client_key_spki_sha256: str = ""
    ca_certificate: str = ""
    skip_verify: bool = False
    server_name: str = ""
    verify_name: str = ""
    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.3"
    ciphers: str = ""
    alpn: tuple[str, ...] = ("http/1.1",)
    crl: str = ""
    pinned_spki_sha256: tuple[str, ...] = ()
    verify_depth: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamTLS:
    """What clients of a host are shown, and whether they have to come by HTTPS.

    `certificate` is a PEM chain, leaf first; empty: the worker's default certificate. `force_https` answers plain HTTP
    with a redirect; `hsts_max_age_s` is the max-age of RFC 6797 section 6.1.1, 0: the field is not sent.
    """

    certificate: str = ""
    key_spki_sha256: str = ""
    force_https: bool = False
    hsts_max_age_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long the worker waits for a host's upstreams, in seconds.

    A tunnel (WebSocket) ends after `tunnel_idle_s` without a byte either way, and after `tunnel_lifetime_s` whatever it
    carries (0: never). When its host leaves the upstream or changes its identity, it may go on for `tunnel_drain_s`.
    """

    connect_s: float = 5.0
    tls_s: float = 5.0
    response_head_s: float = 60.0
    body_stall_s: float = 60.0
    idle_s: float = 55.0
    # HAProxy's manual has 1h for `timeout tunnel`. nginx's 60 s cuts off every client that does not ping; an hour only
    # collects peers that vanished without a word.
    tunnel_idle_s: float = 3600.0
    tunnel_lifetime_s: float = 0.0
    tunnel_drain_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEntry:
    """One enabled proxy host, as the worker needs it. `domains` are lower-case A-labels, `*.` prefix for a wildcard."""

    host_id: str
    name: str
    domains: tuple[str, ...]
    preserve_host: bool = False
    websockets: bool = True
    upstreams: tuple[Upstream, ...] = ()
    upstream_tls: UpstreamTLS = field(default_factory=UpstreamTLS)
    downstream_tls: DownstreamTLS = field(default_factory=DownstreamTLS)
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEntry:
    """A compiled entry as a worker receives it.

    `entry_json` is empty when the host was deleted or disabled: the worker then forgets it.
    `open_client_key` and `open_downstream_key` return a key as unencrypted PKCS#8 PEM; they may be slow and may raise;
    they are called off the reactor thread. None: the host has no such key.
    """

    host_id: str
    generation: int
    digest: str
    entry_json: str
    open_client_key: Callable[[], bytes] | None = field(default=None, repr=False)
    open_downstream_key: Callable[[], bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says about itself. `rejected` maps host id to the reason why its entry could not be used."""

    worker_id: str
    generation: int
    accepted: int
    rejected: tuple[tuple[str, str], ...] = ()
    version: str = ""
    pid: int = 0


def encode_entry(entry: HostEntry) -> str:
    """Canonical JSON: sorted keys, no white space, schema version inside."""
    document = {"schema_version": SCHEMA_VERSION, **asdict(entry)}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def entry_digest(entry_json: str) -> str:
    """sha256 of the canonical JSON, in hex."""
    return hashlib.sha256(entry_json.encode("ascii")).hexdigest()


def decode_entry(entry_json: str) -> HostEntry:
    """The inverse of `encode_entry`. Raises SnapshotError for another schema version or a malformed document."""
    try:
        document: dict[str, Any] = json.loads(entry_json)
        version = document.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise SnapshotError(f"entry has schema version {version}, this worker knows {SCHEMA_VERSION}")
        document["domains"] = tuple(document["domains"])
        document["upstreams"] = tuple(Upstream(**upstream) for upstream in document["upstreams"])
        tls = document["upstream_tls"]
        tls["alpn"] = tuple(tls["alpn"])
        tls["pinned_spki_sha256"] = tuple(tls["pinned_spki_sha256"])
        document["upstream_tls"] = UpstreamTLS(**tls)
        document["downstream_tls"] = DownstreamTLS(**document["downstream_tls"])
        document["deadlines"] = Deadlines(**document["deadlines"])
        return HostEntry(**document)
    except SnapshotError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SnapshotError(f"malformed entry: {type(error).__name__}") from error
