"""From snapshot entries to what traffic uses: the routing index, TLS contexts and upstream pools.

Laws of this module:
- `build` is pure and slow (keys are parsed): it runs off the reactor thread. `Configuration.install` is quick and runs
  on it; the last thing it does is one assignment.
- An entry that cannot be built keeps its host, which answers 502, with the reason; it stops no other entry and there is
  no laxer fallback. One whose certificate for clients cannot be used is refused by HTTPS only: plain HTTP shows none.
- One TLS context per identity and one pool per upstream and identity, whatever hosts share them; when no host needs a
  pool any more, it retires with its connections and sessions.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from proxyworker.net.deadlines import Sweep
from proxyworker.net.pool import PoolKey, UpstreamPool
from proxyworker.net.route import HostRoute, Target
from proxyworker.net.server_certificate import ServerCertificate, server_certificate
from proxyworker.policy.balancing import RoundRobin
from proxyworker.policy.forwarding import upstream_authority
from proxyworker.policy.https import hsts_line
from proxyworker.policy.routing import RoutingIndex
from proxyworker.snapshot import HostEntry, LoadedEntry, SnapshotError, Upstream, decode_entry
from upstream_tls.tls.context import ClientContext, build_context
from upstream_tls.tls.credentials import CredentialProblem
from upstream_tls.tls.spec import UpstreamTLSSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltHost:
    """An entry made ready. `entry` is None when the host is to be forgotten, or cannot even be read (`rejected`).

    `authorities` are the Host fields of its upstreams under their own names. `certificate` is what clients are shown,
    None: the default one; `https_rejected`: why they are shown none.
    """

    host_id: str
    generation: int
    entry: HostEntry | None
    context: ClientContext | None = None
    authorities: tuple[bytes, ...] = ()
    rejected: str = ""
    certificate: ServerCertificate | None = None
    https_rejected: str = ""

    @property
    def reason(self) -> str:
        """What a worker reports of a host that it refuses, wholly or by HTTPS; empty: it refuses nothing."""
        return self.rejected or (f"HTTPS is refused: {self.https_rejected}" if self.https_rejected else "")


def build(loaded: LoadedEntry) -> BuiltHost:
    """Parses one entry and its credentials. Never raises for what the entry contains."""
    if not loaded.entry_json:
        return BuiltHost(host_id=loaded.host_id, generation=loaded.generation, entry=None)
    try:
        entry = decode_entry(loaded.entry_json)
    except SnapshotError as error:
        return BuiltHost(host_id=loaded.host_id, generation=loaded.generation, entry=None, rejected=str(error))
    certificate, https_rejected = _made(lambda: _certificate(entry, loaded))
    context, rejected = _made(lambda: _context(entry, loaded))
    authorities, rejected_name = _made(lambda: tuple(_authority(entry, upstream) for upstream in entry.upstreams))
    return BuiltHost(
        host_id=loaded.host_id,
        generation=loaded.generation,
        entry=entry,
        context=context,
        authorities=authorities or (),
        rejected=rejected or rejected_name,
        certificate=certificate,
        https_rejected=https_rejected,
    )


def _made(make: Callable[[], T]) -> tuple[T | None, str]:
    """What `make` returns, or why it cannot be made."""
    try:
        return make(), ""
    except CredentialProblem as problem:
        return None, f"{problem.code}: {problem.message}"
    except Exception as error:  # noqa: BLE001 (a bad entry must not stop the others, whatever is wrong with it)
        return None, f"configuration cannot be used: {type(error).__name__}"


def _certificate(entry: HostEntry, loaded: LoadedEntry) -> ServerCertificate | None:
    chain_pem = entry.downstream_tls.certificate
    if not chain_pem:
        return None
    if loaded.open_downstream_key is None:
        raise CredentialProblem("key_missing", "the certificate for clients has no key")
    return server_certificate(chain_pem.encode(), loaded.open_downstream_key())


def _context(entry: HostEntry, loaded: LoadedEntry) -> ClientContext | None:
    https = [upstream.address for upstream in entry.upstreams if upstream.scheme == "https"]
    if not https:
        return None
    context = build_context(_spec(entry, loaded))
    for address in https:
        context.open(address)  # names that no session can be opened with must fail here, not under traffic
    return context


def _authority(entry: HostEntry, upstream: Upstream) -> bytes:
    return upstream_authority(
        scheme=upstream.scheme,
        address=upstream.address,
        port=upstream.port,
        server_name=entry.upstream_tls.server_name if upstream.scheme == "https" else "",
    )


def _spec(entry: HostEntry, loaded: LoadedEntry) -> UpstreamTLSSpec:
    tls = entry.upstream_tls
    key = b""
    if tls.client_certificate:
        if loaded.open_client_key is None:
            raise CredentialProblem("client_certificate_missing", "mTLS is on but no client key is configured")
        key = loaded.open_client_key()
    return UpstreamTLSSpec(
        client_chain_pem=tls.client_certificate.encode(),
        client_key_pem=key,
        ca_pem=tls.ca_certificate.encode(),
        skip_verify=tls.skip_verify,
        server_name=tls.server_name,
        verify_name=tls.verify_name,
        min_version=tls.min_version,
        max_version=tls.max_version,
        ciphers=tls.ciphers,
        alpn=tls.alpn,
        crl_pem=tls.crl.encode(),
        pinned_spki_sha256=tls.pinned_spki_sha256,
        verify_depth=tls.verify_depth,
    )


class Configuration:
    """The configuration in force, and the pools behind it. Lives on the reactor thread."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop, sweep: Sweep) -> None:
        self.current: RoutingIndex[HostRoute] = RoutingIndex({}, {})
        self.generation = 0
        self._loop = loop
        self._sweep = sweep
        self._hosts: dict[str, BuiltHost] = {}
        self._domains: dict[str, tuple[str, ...]] = {}
        self._owners: dict[str, str] = {}
        self._pools: dict[PoolKey, UpstreamPool] = {}
        self._uses: dict[PoolKey, int] = {}

    @property
    def accepted_count(self) -> int:
        """How many hosts take traffic."""
        return sum(1 for host in self._hosts.values() if not host.rejected)

    @property
    def rejected(self) -> tuple[tuple[str, str], ...]:
        """`(host id, reason)` of every entry that cannot be used, or not by HTTPS."""
        return tuple((host.host_id, reason) for host in self._hosts.values() if (reason := host.reason))

    @property
    def idle_connection_count(self) -> int:
        """How many upstream connections wait for work."""
        return sum(pool.idle_count for pool in self._pools.values())

    def install(self, built: Iterable[BuiltHost]) -> None:
        """Replaces, adds or forgets the hosts named in `built`. Requests under way keep what they captured."""
        released: list[PoolKey] = []
        removed: list[str] = []
        added: dict[str, HostRoute] = {}
        # Of a host that comes twice the last one stands.
        for host in {host.host_id: host for host in built}.values():
            self.generation = max(self.generation, host.generation)
            released += self._pool_keys(self._hosts.pop(host.host_id, None))
            domains = self._give_up(host.host_id)
            removed += domains
            if host.entry is not None or host.rejected:
                self._hosts[host.host_id] = host
                # An entry that cannot even be read leaves the domains known before to the answer 502.
                self._domains[host.host_id] = host.entry.domains if host.entry is not None else domains
                self._owners.update(dict.fromkeys(self._domains[host.host_id], host.host_id))
                added.update(dict.fromkeys(self._domains[host.host_id], self._route(host)))
        self.current = self.current.replacing(removed, added)
        for key in released:
            self._release(key)

    def _give_up(self, host_id: str) -> tuple[str, ...]:
        """Takes the host's domains from it. Another host may have taken one over before: that one it does not have."""
        domains = tuple(name for name in self._domains.pop(host_id, ()) if self._owners.get(name) == host_id)
        for domain in domains:
            del self._owners[domain]
        return domains

    def close(self) -> None:
        """Retires every pool."""
        for pool in self._pools.values():
            pool.retire()

    def _route(self, host: BuiltHost) -> HostRoute:
        entry = host.entry
        targets: list[Target] = []
        if entry is not None and not host.rejected:
            for upstream, authority, key in zip(entry.upstreams, host.authorities, self._pool_keys(host), strict=True):
                targets.append(self._target(upstream, authority, self._use(key, host.context)))
        return HostRoute(
            host_id=host.host_id,
            name=entry.name if entry else host.host_id,
            preserve_host=entry.preserve_host if entry else False,
            balancer=RoundRobin(targets),
            websockets=entry.websockets if entry else False,
            rejected=host.rejected,
            certificate=host.certificate,
            # An entry that cannot even be read may have had a certificate: no other one in its place.
            https_rejected=host.https_rejected if entry else host.rejected,
            force_https=entry.downstream_tls.force_https if entry else False,
            hsts=hsts_line(entry.downstream_tls.hsts_max_age_s) if entry else b"",
        )

    @staticmethod
    def _target(upstream: Upstream, authority: bytes, pool: UpstreamPool) -> Target:
        address = f"[{upstream.address}]" if ":" in upstream.address else upstream.address
        return Target(
            upstream_id=upstream.upstream_id,
            label=f"{upstream.scheme}://{address}:{upstream.port}",
            authority=authority,
            pool=pool,
        )

    @staticmethod
    def _pool_keys(host: BuiltHost | None) -> list[PoolKey]:
        if host is None or host.entry is None or host.rejected:
            return []
        return [
            PoolKey(
                address=upstream.address,
                port=upstream.port,
                identity=host.context.digest if host.context and upstream.scheme == "https" else "",
                deadlines=host.entry.deadlines,
            )
            for upstream in host.entry.upstreams
        ]

    def _use(self, key: PoolKey, context: ClientContext | None) -> UpstreamPool:
        pool = self._pools.get(key)
        if pool is None:
            pool = UpstreamPool(key, context if key.identity else None, loop=self._loop, sweep=self._sweep)
            self._pools[key] = pool
        self._uses[key] = self._uses.get(key, 0) + 1
        return pool

    def _release(self, key: PoolKey) -> None:
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]
            self._pools.pop(key).retire()
