"""Makes a host for each member of the demo's zoo: `zoo-NAME.localhost`.

Laws of this module: idempotent; hosts are made and changed through `hosts.services`, as any other. What a person has
changed in such a host is put right at the next start, because a host that fails otherwise teaches nothing.
"""

import datetime
import secrets
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from aegis_site.demo_zoo import ZooPlan
from hosts.models import Host
from hosts.services import create_host, update_host
from hosts.specs import HostSpec, UpstreamSpec
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.services import spec_of
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.zoo.member import Member
from upstream_tls.zoo.members import members

# Some members are "over since yesterday": with an older plan the times that they show would look odd.
_PLAN_LIFETIME = datetime.timedelta(days=90)


def set_up_zoo() -> ZooPlan:
    """The zoo of this data directory, ready to be started, with its hosts. Raises OSError, ValidationError."""
    plan = _plan(settings.AEGIS_DATA_DIR)
    pki = plan.pki
    existing = {host.name: host for host in Host.objects.with_configuration().filter(name__startswith="zoo-")}
    for member in members():
        upstream = UpstreamSpec(address=member.address, port=plan.ports[member.name])
        _wire_host(existing.get(_host_name(member)), member, upstream, member.spec(pki))
    return plan


def _plan(data_dir: Path) -> ZooPlan:
    """The last plan with ports that are free now, or a new one."""
    last = ZooPlan.read(data_dir)
    now = timezone.now()
    is_good = last is not None and last.made_at > now - _PLAN_LIFETIME
    plan = ZooPlan(
        seed=last.seed if last is not None and is_good else secrets.token_bytes(32),
        made_at=last.made_at if last is not None and is_good else now,
        ports=_free_ports((member.name for member in members()), last.ports if last else {}),
    )
    plan.write(data_dir)
    return plan


def _free_ports(names: Iterable[str], last: dict[str, int]) -> dict[str, int]:
    """A port for each name, the one of the last time where possible. All are held until all are found."""
    ports = {}
    with ExitStack() as held:
        for name in names:
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", last.get(name, 0)))
            except OSError:
                listener.bind(("127.0.0.1", 0))
            ports[name] = listener.getsockname()[1]
    return ports


def _wire_host(host: Host | None, member: Member, upstream: UpstreamSpec, spec: UpstreamTLSSpec) -> None:
    if host is not None and _is_wired(host, upstream, spec):
        return
    wanted = HostSpec(
        name=_host_name(member),
        domains=(f"{_host_name(member)}.localhost",),
        upstreams=(upstream,),
        upstream_tls=_changes(spec),
    )
    if host is None:
        create_host(spec=wanted, user=None)
    else:
        update_host(host=host, spec=wanted, user=None)


def _host_name(member: Member) -> str:
    return f"zoo-{member.name}"


def _is_wired(host: Host, upstream: UpstreamSpec, spec: UpstreamTLSSpec) -> bool:
    targets = [(item.address, item.port) for item in host.upstreams.all()]
    return targets == [(upstream.address, upstream.port)] and spec_of(host.upstream_tls) == spec


def _changes(spec: UpstreamTLSSpec) -> UpstreamTLSChanges:
    return UpstreamTLSChanges(
        enabled=bool(spec.client_chain_pem),
        client_certificate=spec.client_chain_pem.decode("ascii"),
        client_key=spec.client_key_pem.decode("ascii"),
        ca_certificate=spec.ca_pem.decode("ascii"),
        skip_verify=spec.skip_verify,
        server_name=spec.server_name,
        verify_name=spec.verify_name,
        min_version=spec.min_version,
        max_version=spec.max_version,
        ciphers=spec.ciphers,
        alpn=spec.alpn,
        crl=spec.crl_pem.decode("ascii"),
        pinned_spki_sha256=spec.pinned_spki_sha256,
        verify_depth=spec.verify_depth,
    )
