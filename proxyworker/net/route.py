"""What a request needs to know of its host: which upstreams, under which identity, with which rules.

Laws of this module: immutable after it was built, but for the turn of the balancer, the budget, and the states of the
upstreams, which outlive the route; `runtime` builds it.
"""

from dataclasses import dataclass

from proxyworker.net.pool import UpstreamPool
from proxyworker.net.server_certificate import ServerCertificate
from proxyworker.policy.balancing import Balancer
from proxyworker.policy.header_rules import HeaderRules
from proxyworker.policy.health import UpstreamState
from proxyworker.policy.retry import RetryBudget
from proxyworker.policy.routing import domain_of
from proxyworker.snapshot import PassiveHealth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """One enabled upstream. `authority` is the Host field under its own name, `label` names it in logs."""

    upstream_id: str
    label: str
    authority: bytes
    pool: UpstreamPool
    state: UpstreamState
    weight: int = 1
    backup: bool = False
    drain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostRoute:
    """One host as traffic sees it. A host whose configuration was rejected has the reason and no targets.

    `generation` is that of its entry. `certificate` is what its clients are shown, None: the default one;
    `https_rejected`: why they get none at all. `hsts` is a field line for HTTPS answers, or empty. `own_fields` are
    those that the rules for responses add to the worker's own answers. `max_body_bytes` of a request, 0: no limit.
    `targets` are all enabled upstreams.
    `passive_health` and `budget` are None when there is nothing to choose from: failing over needs another upstream.
    `only_target` is the upstream of most hosts, which have one: it spares their requests the balancer, while it is up.
    """

    host_id: str
    name: str
    preserve_host: bool
    balancer: Balancer[Target]
    generation: int = 0
    targets: tuple[Target, ...] = ()
    passive_health: PassiveHealth | None = None
    budget: RetryBudget | None = None
    only_target: Target | None = None
    websockets: bool = False
    rejected: str = ""
    certificate: ServerCertificate | None = None
    https_rejected: str = ""
    force_https: bool = False
    hsts: bytes = b""
    access_log: bool = True
    request_headers: HeaderRules | None = None
    response_headers: HeaderRules | None = None
    own_fields: tuple[bytes, ...] = ()
    max_body_bytes: int = 0

    def own_lines(self, *, is_https: bool) -> tuple[bytes, ...]:
        """The field lines of the host in an answer that the worker gives for it."""
        return (*self.own_fields, self.hsts) if self.hsts and is_https else self.own_fields


class ServerName:
    """The server that a client asked for in its handshake, and what it was shown for it."""

    __slots__ = ("_certificate", "_domain", "_host_id")

    def __init__(self, name: bytes, route: HostRoute | None) -> None:
        self._domain = domain_of(name)
        self._host_id = route.host_id if route else ""
        self._certificate = route.certificate if route else None

    def admits(self, route: HostRoute, authority: bytes) -> bool:
        """Whether a request for `authority`, which is for `route`, may come over this connection.

        RFC 9110 section 7.4: a request for an origin that the connection was not secured for is misdirected. It is when
        the client asked for another host's name, and the certificate that it was shown does not cover this one.
        """
        if route.host_id == self._host_id:
            return True
        domain = domain_of(authority)
        return domain == self._domain or (self._certificate is not None and self._certificate.names.cover(domain))
