"""The configuration in force: the routing index, and the upstream pools behind it.

Laws of this module:
- Quick, on the reactor thread. A host is replaced by one assignment for each of its domains, and a domain that moves
  from one host to another is without a host at no time.
- One pool per upstream and identity, whatever hosts share them; when no host needs a pool any more, it retires with its
  connections and sessions.
- What upstreams carry and how they fare is kept per host, upstream and identity, and survives every change of the host
  that leaves those as they are (docs/adr/0011).
- An exception from verification ends at its time, whoever is away then: the host that verifies, built beforehand, takes
  its place, and the pool without verification retires (docs/adr/0029).
- What active checks say is kept by upstream id, beside the hosts: neither waits for the other, and neither is asked for
  again because the other has changed.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from proxyworker.build import BuiltHost
from proxyworker.net.deadlines import NEVER, Sweep
from proxyworker.net.pool import PoolKey, UpstreamPool
from proxyworker.net.route import HostRoute, Target
from proxyworker.policy.balancing import balancer_for
from proxyworker.policy.header_rules import own_fields
from proxyworker.policy.health import UpstreamState
from proxyworker.policy.https import hsts_line
from proxyworker.policy.retry import RetryBudget
from proxyworker.policy.routing import RoutingIndex
from proxyworker.snapshot import HostEntry, Upstream
from upstream_tls.tls.context import ClientContext

# 2 ms on the reactor thread.
HOSTS_AT_ONCE = 100


class Expiry(NamedTuple):
    """When a certificate of a host ends, in seconds of Unix time. `role`: shown to upstreams, or to clients."""

    host: str
    role: Literal["client", "server"]
    not_after: float


class CheckedUpstream(NamedTuple):
    """An upstream of a host, and what active checks say of it; None: nothing."""

    host: str
    upstream: str
    is_up: bool | None


class InstalledHost(NamedTuple):
    """A host in force, and what is to be undone when it changes."""

    domains: tuple[str, ...]
    pool_keys: tuple[PoolKey, ...]
    route: HostRoute
    client_not_after: float


class Configuration:
    """The configuration in force, and the pools behind it. Lives on the reactor thread.

    `unix_time` tells when exceptions from verification end.
    """

    def __init__(
        self, *, loop: asyncio.AbstractEventLoop, sweep: Sweep, unix_time: Callable[[], float] = time.time
    ) -> None:
        self.current: RoutingIndex[HostRoute] = RoutingIndex()
        self.generation = 0
        self._loop = loop
        self._sweep = sweep
        self._unix_time = unix_time
        self._exceptions: dict[str, BuiltHost] = {}
        self._next_end = NEVER
        self._hosts: dict[str, InstalledHost] = {}
        self._owners: dict[str, str] = {}
        self._checks: dict[str, bool] = {}
        self._host_ids: dict[str, str] = {}  # of the hosts in force, by upstream id
        self._pools: dict[PoolKey, UpstreamPool] = {}
        self._uses: dict[PoolKey, int] = {}
        self._reasons: dict[str, str] = {}
        self._refusing: set[str] = set()

    @property
    def accepted_count(self) -> int:
        """How many hosts take traffic."""
        return len(self._hosts) - len(self._refusing)

    @property
    def rejected_count(self) -> int:
        """How many entries cannot be used, or not by HTTPS."""
        return len(self._reasons)

    @property
    def rejected(self) -> tuple[tuple[str, str], ...]:
        """`(host id, reason)` of every entry that cannot be used, or not by HTTPS."""
        return tuple(self._reasons.items())

    @property
    def idle_connection_count(self) -> int:
        """How many upstream connections wait for work."""
        return sum(pool.idle_count for pool in self._pools.values())

    def upstreams_up(self) -> Iterator[tuple[str, str, bool]]:
        """`(host name, label, is up)` of every upstream that has others beside it, whatever changes meanwhile."""
        for host in list(self._hosts.values()):
            if host.route.passive_health is not None:
                for target in host.route.targets:
                    yield host.route.name, target.label, not target.state.out_until

    def upstreams_checked(self) -> Iterator[CheckedUpstream]:
        """Every upstream that active checks say something of, whatever changes meanwhile."""
        for host in list(self._hosts.values()):
            for target in host.route.targets:
                if target.state.is_checked_up is not None:
                    yield CheckedUpstream(host.route.name, target.label, target.state.is_checked_up)

    @property
    def checks(self) -> Mapping[str, bool]:
        """What active checks say, by upstream id, also of upstreams that no host in force has."""
        return self._checks

    def note_checks(self, checks: Mapping[str, bool | None]) -> list[CheckedUpstream]:
        """Active checks say this of some upstreams, None: nothing any more. Those that are down by it, or not any more.

        The price of each is a look-up: it compiles nothing and touches no connection.
        """
        changed: list[CheckedUpstream] = []
        for upstream_id, is_up in checks.items():
            if is_up is None:
                self._checks.pop(upstream_id, None)
            else:
                self._checks[upstream_id] = is_up
            host = self._hosts.get(self._host_ids.get(upstream_id, ""))
            for target in host.route.targets if host else ():
                if target.upstream_id == upstream_id and target.state.checked(is_up):
                    changed.append(CheckedUpstream(host.route.name, target.label, is_up))  # type: ignore[union-attr]
        return changed

    @property
    def open_connection_count(self) -> int:
        """How many upstream connections there are, but for those of pools that retired and end with their answer."""
        return sum(pool.open_count for pool in self._pools.values())

    def expiries(self) -> Iterator[Expiry]:
        """When the hosts' certificates end. The configuration may change while this is iterated over."""
        for host in list(self._hosts.values()):
            if host.client_not_after:
                yield Expiry(host.route.name, "client", host.client_not_after)
            if host.route.certificate is not None:
                yield Expiry(host.route.name, "server", host.route.certificate.not_after)

    def install(self, built: Iterable[BuiltHost]) -> None:
        """Replaces, adds or forgets the hosts named in `built`. Requests under way keep what they captured."""
        for _ in self.installing(built):
            pass

    def installing(self, built: Iterable[BuiltHost]) -> Iterator[None]:
        """As `install`, but yields after each HOSTS_AT_ONCE hosts or pools: traffic has its turn. One at a time."""
        # Of a host that comes twice the last one stands.
        hosts = {host.host_id: host for host in built}
        released: list[PoolKey] = []
        given_up: list[tuple[str, str]] = []
        for number, built_host in enumerate(hosts.values(), 1):
            host = self._in_force(built_host)
            before = self._hosts.pop(host.host_id, None)
            kept = self._replace(host, before)
            if before is not None:
                released += before.pool_keys
                given_up += [(domain, host.host_id) for domain in before.domains if domain not in kept]
            if number % HOSTS_AT_ONCE == 0:
                yield
        self._give_up(given_up)
        self._note_next_end()
        self.generation = max([self.generation, *(host.generation for host in hosts.values())])
        for number, key in enumerate(released, 1):
            self._release(key)
            if number % HOSTS_AT_ONCE == 0:
                yield

    def end_exceptions(self) -> list[str]:
        """To be called at every tick: the names of the hosts that verify their upstreams from now on."""
        now = self._unix_time()
        if now < self._next_end:
            return []
        ended = [host.at(now) for host in self._exceptions.values() if host.skip_verify_until <= now]
        for host in ended:
            del self._exceptions[host.host_id]
            before = self._hosts.pop(host.host_id)
            # Another host may have taken a domain over, and this one's change is still to come.
            owned = replace(host.entry, domains=self._owned(host.host_id, before)) if host.entry else None
            self._replace(replace(host, entry=owned), before)
            for key in before.pool_keys:
                self._release(key)
        self._note_next_end()
        return [self._hosts[host.host_id].route.name for host in ended]

    def _in_force(self, host: BuiltHost) -> BuiltHost:
        """What holds of a host now; what will hold later is remembered."""
        self._exceptions.pop(host.host_id, None)
        now = host.at(self._unix_time())
        if now.verified is not None:
            self._exceptions[host.host_id] = now
            self._next_end = min(self._next_end, now.skip_verify_until)
        return now

    def _note_next_end(self) -> None:
        self._next_end = min((host.skip_verify_until for host in self._exceptions.values()), default=NEVER)

    def _replace(self, host: BuiltHost, before: InstalledHost | None) -> tuple[str, ...]:
        """Puts a host in the place of what it was. The domains that it has now."""
        self._note(host)
        for target in before.route.targets if before else ():
            if self._host_ids.get(target.upstream_id) == host.host_id:
                del self._host_ids[target.upstream_id]
        if host.entry is None and not host.rejected:
            return ()
        # An entry that cannot even be read leaves the domains known before to the answer 502.
        domains = host.entry.domains if host.entry else self._owned(host.host_id, before)
        keys = self._pool_keys(host)
        route = self._route(host, keys, before.route if before else None)
        self._hosts[host.host_id] = InstalledHost(domains, keys, route, host.client_not_after)
        self._host_ids.update((target.upstream_id, host.host_id) for target in route.targets)
        self._owners.update(dict.fromkeys(domains, host.host_id))
        self.current.put(dict.fromkeys(domains, route))
        return domains

    def _give_up(self, domains: list[tuple[str, str]]) -> None:
        """Takes domains from hosts. Another host may have taken one over before: that one it does not have."""
        for domain, host_id in domains:
            if self._owners.get(domain) == host_id:
                del self._owners[domain]
                self.current.remove((domain,))

    def _owned(self, host_id: str, before: InstalledHost | None) -> tuple[str, ...]:
        return tuple(domain for domain in before.domains if self._owners.get(domain) == host_id) if before else ()

    def _note(self, host: BuiltHost) -> None:
        """Keeps count of what is refused, so that nobody has to walk over all hosts for it."""
        self._reasons.pop(host.host_id, None)
        self._refusing.discard(host.host_id)
        if host.reason:
            self._reasons[host.host_id] = host.reason
        if host.rejected:
            self._refusing.add(host.host_id)

    def close(self) -> None:
        """Retires every pool."""
        for pool in self._pools.values():
            pool.retire()

    def _route(self, host: BuiltHost, pool_keys: tuple[PoolKey, ...], before: HostRoute | None) -> HostRoute:
        entry = host.entry
        targets = self._targets(host, pool_keys, before)
        # With nothing to choose from, an upstream is tried whatever became of the last request.
        chooser = entry if sum(not target.drain for target in targets) > 1 else None
        if chooser is None or not chooser.passive_health.max_failures:
            for target in targets:
                target.state.recover()
        return HostRoute(
            host_id=host.host_id,
            generation=host.generation,
            name=entry.name if entry else host.host_id,
            preserve_host=entry.preserve_host if entry else False,
            balancer=balancer_for(entry.load_balancing if entry else "round_robin", targets, random.random),
            targets=targets,
            passive_health=chooser.passive_health if chooser else None,
            budget=self._budget(chooser, before) if chooser else None,
            only_target=targets[0] if len(targets) == 1 and not targets[0].drain else None,
            websockets=entry.websockets if entry else False,
            rejected=host.rejected,
            certificate=host.certificate,
            # An entry that cannot even be read may have had a certificate: no other one in its place.
            https_rejected=host.https_rejected if entry else host.rejected,
            force_https=entry.downstream_tls.force_https if entry else False,
            hsts=hsts_line(entry.downstream_tls.hsts_max_age_s) if entry else b"",
            request_headers=host.header_rules[0],
            response_headers=host.header_rules[1],
            own_fields=own_fields(host.header_rules[1]),
            max_body_bytes=entry.limits.max_body_bytes if entry else 0,
            access_log=entry.access_log if entry else True,
        )

    def _budget(self, entry: HostEntry, before: HostRoute | None) -> RetryBudget:
        """The one that the host has, unless its rules change."""
        if before is not None and before.budget is not None and before.budget.rules == entry.retries:
            return before.budget
        return RetryBudget(entry.retries, self._sweep.now)

    def _targets(self, host: BuiltHost, pool_keys: tuple[PoolKey, ...], before: HostRoute | None) -> tuple[Target, ...]:
        entry = host.entry
        if entry is None or host.rejected:
            return ()
        states = {_upstream_of(target.pool.key): target.state for target in before.targets} if before else {}
        targets: list[Target] = []
        for upstream, authority, key in zip(entry.upstreams, host.authorities, pool_keys, strict=True):
            state = states.setdefault(_upstream_of(key), UpstreamState())
            state.checked(self._checks.get(upstream.upstream_id))
            targets.append(self._target(upstream, authority, self._use(key, host.context), state))
        return tuple(targets)

    @staticmethod
    def _target(upstream: Upstream, authority: bytes, pool: UpstreamPool, state: UpstreamState) -> Target:
        address = f"[{upstream.address}]" if ":" in upstream.address else upstream.address
        return Target(
            upstream_id=upstream.upstream_id,
            label=f"{upstream.scheme}://{address}:{upstream.port}",
            authority=authority,
            pool=pool,
            state=state,
            weight=upstream.weight,
            backup=upstream.backup,
            drain=upstream.drain,
        )

    @staticmethod
    def _pool_keys(host: BuiltHost) -> tuple[PoolKey, ...]:
        if host.entry is None or host.rejected:
            return ()
        return tuple(
            PoolKey(
                address=upstream.address,
                port=upstream.port,
                identity=host.context.digest if host.context and upstream.scheme == "https" else "",
                deadlines=host.entry.deadlines,
            )
            for upstream in host.entry.upstreams
        )

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


def _upstream_of(key: PoolKey) -> tuple[str, int, str]:
    """What an upstream is, whatever the deadlines that its host has for it."""
    return key.address, key.port, key.identity
