"""The contract between the control plane (Django) and the data plane (the worker).

Laws of this module:
- Frozen dataclasses of plain values only; no Django, no Twisted, no live objects.
- A private key is never a field here. It travels sealed beside the entry and is opened by `LoadedEntry.open_client_key`
  or `open_downstream_key` when the TLS context is built (docs/adr/0004). Neither is a secret value of a header rule:
  `open_header_secrets` has it when the host is built (docs/adr/0026).
- `HostEntry` <-> canonical JSON is lossless. The digest is the sha256 of that JSON; equal digest means nothing to do.
  Keys take part through `client_key_spki_sha256` and `key_spki_sha256`, which are public, and secret values through
  their names, which are random.
- Any change of shape raises SCHEMA_VERSION. A worker refuses entries of a version that it does not know, and the host
  answers 502 with that reason; other hosts are not touched.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

SCHEMA_VERSION = 6

# The Redis channel on which the control plane announces a new generation (the message is the number in ASCII).
GENERATION_CHANNEL = "aegis:generation"

# What active checks say of upstreams, in Redis: the hash has HEALTH_UP or HEALTH_DOWN by upstream id, and no entry for
# those that they cannot judge. The beat is the time of the last sweep, in seconds of Unix time: while it moves, the
# rest is not old. The channel has the id of each upstream whose entry has changed. Written by `healthchecks`.
HEALTH_HASH = "aegis:health"
HEALTH_BEAT = "aegis:health:beat"
HEALTH_CHANNEL = "aegis:health:changed"
HEALTH_UP = b"up"
HEALTH_DOWN = b"down"

MAX_REPORTED_FAILURES = 200

# The bounds of the columns `upto_…` below; `slower` counts what is above them.
DURATION_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
# What a worker counts of a host in a minute, in this order: answers by class, those that refuse whoever asks (401, 403,
# 495, 496) being no `client_errors`; failed attempts at upstreams, and those of them by which an upstream refused the
# client certificate; TLS handshakes with upstreams, and those of them that failed; how long exchanges with upstreams
# took: how many of them up to so many milliseconds.
TRAFFIC_COLUMNS = (
    "informational",
    "successes",
    "redirects",
    "client_errors",
    "refusals",
    "server_errors",
    "upstream_failures",
    "certificates_refused",
    "handshakes",
    "handshake_failures",
    *(f"upto_{bound}_ms" for bound in DURATION_BOUNDS_MS),
    "slower",
)
# Of one report; what is left comes with the next one.
MAX_REPORTED_TRAFFIC = 2000

T = TypeVar("T")

Scheme = Literal["http", "https"]
LoadBalancing = Literal["round_robin", "least_connections", "ip_hash", "random_two_choices"]


class SnapshotError(ValueError):
    """An entry that this version cannot read. The text says what and where, and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One backend of a host. `address` is a DNS name or an IP literal without brackets.

    `weight` is its share among the others. A `backup` gets requests only while no other upstream is up. An upstream in
    `drain` gets no new requests; what it carries, WebSockets too, goes on.
    """

    upstream_id: str
    scheme: Scheme
    address: str
    port: int
    weight: int = 1
    backup: bool = False
    drain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTLS:
    """How the worker and the https upstreams of a host prove themselves to each other.

    `client_certificate` is a PEM chain, leaf first; empty: no certificate is presented.
    `ca_certificate` is a PEM bundle; empty: the system trust store.
    `server_name` is the SNI and, unless `verify_name` is set, the name checked; empty: the upstream's address (no SNI
    when that is an IP address). The rest is as in `upstream_tls.tls.spec`; `crl` is PEM.
    `skip_verify_until` is the end of `skip_verify` in seconds of Unix time, 0: it has none. From then on the worker
    verifies, whether or not anybody tells it to.
    """

    client_certificate: str = ""
    client_key_spki_sha256: str = ""
    ca_certificate: str = ""
    skip_verify: bool = False
    skip_verify_until: float = 0.0
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
class PassiveHealth:
    """When traffic itself takes an upstream out: after `max_failures` in a row (0: never), for `backoff_s` at first.

    Each further failure after that time doubles it, up to `backoff_max_s`; one success ends it. Seconds.
    """

    max_failures: int = 3
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a failed request may be tried again, where that is safe (RFC 9110 section 9.2.2).

    `max_attempts` counts the first one too. All retries of a host together may be `budget_percent` of its requests,
    and `budget_min_per_s` in any case, so that a broken upstream does not multiply the load on the others.
    """

    max_attempts: int = 4
    budget_percent: int = 20
    budget_min_per_s: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """One change to a header section: `set` replaces all fields of that name, `add` adds one, `remove` drops all.

    A rule with a `secret` has its value under that name in `LoadedEntry.open_header_secrets`.
    """

    action: Literal["set", "add", "remove"]
    name: str
    value: str = ""
    secret: str = ""


# Fields of one connection (RFC 9110 section 7.6.1, and the unregistered Proxy-Connection), by which messages are framed
# and routed, and by which the worker says who the client is. No HeaderRule names one of them.
_FRAMING_FIELDS = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
RESERVED_REQUEST_FIELDS = _FRAMING_FIELDS | {
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "x-real-ip",
    "x-request-id",
}
RESERVED_RESPONSE_FIELDS = _FRAMING_FIELDS | {"strict-transport-security"}
# All request fields that begin like this are reserved too.
FORWARDED_PREFIX = "x-forwarded-"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """What a host's clients may ask of it. 0: no limit."""

    max_body_bytes: int = 0  # of a request; 413


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEntry:
    """One enabled proxy host, as the worker needs it. `domains` are lower-case A-labels, `*.` prefix for a wildcard.

    `request_headers` and `response_headers` are applied in order, after everything that the worker does by itself.
    """

    host_id: str
    name: str
    domains: tuple[str, ...]
    preserve_host: bool = False
    websockets: bool = True
    access_log: bool = True
    load_balancing: LoadBalancing = "round_robin"
    upstreams: tuple[Upstream, ...] = ()
    upstream_tls: UpstreamTLS = field(default_factory=UpstreamTLS)
    downstream_tls: DownstreamTLS = field(default_factory=DownstreamTLS)
    deadlines: Deadlines = field(default_factory=Deadlines)
    passive_health: PassiveHealth = field(default_factory=PassiveHealth)
    retries: Retries = field(default_factory=Retries)
    limits: HostLimits = field(default_factory=HostLimits)
    request_headers: tuple[HeaderRule, ...] = ()
    response_headers: tuple[HeaderRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEntry:
    """A compiled entry as a worker receives it.

    `entry_json` is empty when the host was deleted or disabled: the worker then forgets it.
    `open_client_key` and `open_downstream_key` return a key as unencrypted PKCS#8 PEM; they may be slow and may raise;
    they are called off the reactor thread. None: the host has no such key. `open_header_secrets` is as they are, and
    returns a JSON object of the secret values of header rules by their names.
    """

    host_id: str
    generation: int
    digest: str
    entry_json: str
    open_client_key: Callable[[], bytes] | None = field(default=None, repr=False)
    open_downstream_key: Callable[[], bytes] | None = field(default=None, repr=False)
    open_header_secrets: Callable[[], bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamFailure:
    """The last failure of one upstream for one reason. `at` is in seconds of Unix time.

    `count` is the number of all failures of that upstream since the worker started, `code_count` of those with this
    code. Both only grow while the worker lives. `phase` and `code` are those of docs/diagnosis.md, `reason` is for
    operators and holds no secret.
    """

    host_id: str
    upstream_id: str
    phase: str
    code: str
    reason: str
    request_id: str
    at: float
    count: int
    code_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteOfTraffic:
    """What a worker has counted of one host in the minute that begins at `start_s`, in seconds of Unix time.

    `host_id` is empty for all hosts together, with what no host matched. `generation` is that of the host's entry by
    which the requests were answered, 0 for all hosts. `counts` are TRAFFIC_COLUMNS, from the begin of the minute on:
    what is told again takes the place of what was told before. `part` is another one after the clock was set back.
    """

    host_id: str
    generation: int
    start_s: int
    part: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says about itself. `rejected` maps host id to the reason why its entry could not be used.

    `run` is another one each time that the worker starts: what it counts begins anew with it.

    `failures` are the latest of those that are new since the last report, at most MAX_REPORTED_FAILURES; `traffic` is
    what was counted since, at most MAX_REPORTED_TRAFFIC, the oldest minutes first. Unless
    `health_feed_is_current`, what active checks say is old or unknown, and the traffic alone judges upstreams.
    """

    worker_id: str
    generation: int
    accepted: int
    rejected: tuple[tuple[str, str], ...] = ()
    failures: tuple[UpstreamFailure, ...] = ()
    health_feed_is_current: bool = False
    version: str = ""
    pid: int = 0
    run: str = ""
    traffic: tuple[MinuteOfTraffic, ...] = ()


def default_port(scheme: str) -> int:
    """The port that an authority of this scheme leaves out (RFC 9110 section 4.2)."""
    return 443 if scheme == "https" else 80


def own_authority(*, scheme: str, address: str, port: int, server_name: str) -> str:
    """The Host field that an upstream gets under its own name: the server name override, else its address.

    Traffic and connection tests both ask here, so that a test says what traffic will meet.
    """
    name = server_name or (f"[{address}]" if ":" in address else address)
    return name if port == default_port(scheme) else f"{name}:{port}"


@lru_cache(maxsize=1024)
def _shared(value: T) -> T:
    """An equal value that is there already: thousands of hosts have few different settings between them."""
    return value


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
        document["deadlines"] = _shared(Deadlines(**document["deadlines"]))
        document["passive_health"] = _shared(PassiveHealth(**document["passive_health"]))
        document["retries"] = _shared(Retries(**document["retries"]))
        document["limits"] = _shared(HostLimits(**document["limits"]))
        for rules in ("request_headers", "response_headers"):
            document[rules] = tuple(HeaderRule(**rule) for rule in document[rules])
        return HostEntry(**document)
    except SnapshotError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SnapshotError(f"malformed entry: {type(error).__name__}") from error
