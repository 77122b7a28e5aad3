"""What a request needs to know of its host: which upstreams, under which identity, with which rules.

Laws of this module: immutable after it was built, but for the turn of the balancer; `runtime` builds it.
"""

from dataclasses import dataclass

from proxyworker.net.upstream import UpstreamPool
from proxyworker.policy.balancing import RoundRobin


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One enabled upstream. `authority` is the Host field under its own name, `label` names it in logs."""

    upstream_id: str
    label: str
    authority: bytes
    pool: UpstreamPool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoute:
    """One host as traffic sees it. A host whose configuration was rejected has the reason and no targets."""

    host_id: str
    name: str
    preserve_host: bool
    balancer: RoundRobin[Target]
    rejected: str = ""
