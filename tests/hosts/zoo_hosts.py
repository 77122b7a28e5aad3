"""Hosts before real upstreams: members of the zoo."""

from typing import Any

from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.zoo.running import Running


def host_before(*members: Running, name: str = "orders", **tls: Any) -> Host:
    """A host with these upstreams and the settings that the first of them asks for, but `tls`."""
    spec = members[0].spec
    settings: dict[str, Any] = {
        "enabled": bool(spec.client_chain_pem),
        "client_certificate": spec.client_chain_pem.decode(),
        "client_key": spec.client_key_pem.decode(),
        "ca_certificate": spec.ca_pem.decode(),
        "server_name": spec.server_name,
        "verify_name": spec.verify_name,
    }
    upstreams = tuple(UpstreamSpec(address=member.address, port=member.port) for member in members)
    return make_host(name, upstreams=upstreams, upstream_tls=UpstreamTLSChanges(**{**settings, **tls}))
