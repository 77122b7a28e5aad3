"""Entries of hosts with certificates, as the tests of what is made of them need them."""

from proxyworker.snapshot import DownstreamTLS, HostEntry, LoadedEntry, UpstreamTLS
from tests.proxyworker.net.proxy import entry, upstream
from tests.support.certificates import Authority
from upstream_tls.tls.spec import UpstreamTLSSpec

CA = Authority()
CLIENT = CA.client()
SITE = CA.server("app.test")
HTTPS = upstream(scheme="https", address="app.internal")


def tls(**changes: object) -> UpstreamTLS:
    """TLS towards upstreams whose certificates are of this CA."""
    return UpstreamTLS(**{"ca_certificate": CA.pem, **changes})  # type: ignore[arg-type]


def tls_of(spec: UpstreamTLSSpec) -> UpstreamTLS:
    """What an entry says of these settings; the key travels beside it."""
    return UpstreamTLS(
        client_certificate=spec.client_chain_pem.decode(),
        ca_certificate=spec.ca_pem.decode(),
        skip_verify=spec.skip_verify,
        server_name=spec.server_name,
        verify_name=spec.verify_name,
        min_version=spec.min_version,
        max_version=spec.max_version,
        ciphers=spec.ciphers,
        alpn=spec.alpn,
        crl=spec.crl_pem.decode(),
        pinned_spki_sha256=spec.pinned_spki_sha256,
        verify_depth=spec.verify_depth,
    )


def tombstone(host_id: str, generation: int) -> LoadedEntry:
    """The host is gone."""
    return LoadedEntry(host_id=host_id, generation=generation, digest="", entry_json="")


def site(**changes: object) -> HostEntry:
    """A host with a certificate for its clients."""
    return entry(downstream_tls=DownstreamTLS(**{"certificate": SITE.chain_pem, **changes}))  # type: ignore[arg-type]
