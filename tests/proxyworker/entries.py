"""Entries of hosts with certificates, as the tests of what is made of them need them."""

from proxyworker.snapshot import DownstreamTLS, HostEntry, LoadedEntry, UpstreamTLS
from tests.proxyworker.net.proxy import entry, upstream
from tests.support.certificates import Authority

CA = Authority()
CLIENT = CA.client()
SITE = CA.server("app.test")
HTTPS = upstream(scheme="https", address="app.internal")


def tls(**changes: object) -> UpstreamTLS:
    """TLS towards upstreams whose certificates are of this CA."""
    return UpstreamTLS(**{"ca_certificate": CA.pem, **changes})  # type: ignore[arg-type]


def tombstone(host_id: str, generation: int) -> LoadedEntry:
    """The host is gone."""
    return LoadedEntry(host_id=host_id, generation=generation, digest="", entry_json="")


def site(**changes: object) -> HostEntry:
    """A host with a certificate for its clients."""
    return entry(downstream_tls=DownstreamTLS(**{"certificate": SITE.chain_pem, **changes}))  # type: ignore[arg-type]
