"""Turns a host's rows into the entry that the workers load.

Laws of this module: no writes, no clock; the same rows give the same entry, byte for byte. Nothing is made laxer than
configured: what cannot be used is compiled as it stands, and the worker refuses it.
"""

from aegis_site.kernel.fields import Sealed
from hosts.models import Host
from proxyworker.snapshot import DownstreamTLS, HostEntry, Upstream, UpstreamTLS
from upstream_tls.models import UpstreamTLSConfiguration


def compile_host(host: Host) -> tuple[HostEntry, Sealed | None, Sealed | None]:
    """The entry of an enabled host, its client key and the key of its certificate for clients, as sealed in their rows.

    A key is None unless its certificate is presented. No query when `with_configuration` was used.
    """
    # A host without a configuration row has none of the settings, which is also what a new row says.
    configuration = getattr(host, "upstream_tls", None) or UpstreamTLSConfiguration(host_id=host.pk)
    tls = UpstreamTLS(
        client_certificate=configuration.client_certificate if configuration.enabled else "",
        client_key_spki_sha256=configuration.client_key_spki_sha256 if configuration.enabled else "",
        ca_certificate=configuration.ca_certificate,
        skip_verify=configuration.skip_verify,
        server_name=configuration.server_name,
        verify_name=configuration.verify_name,
        min_version=configuration.min_version,
        max_version=configuration.max_version,
        ciphers=configuration.ciphers,
        alpn=tuple(configuration.alpn),
        crl=configuration.crl,
        pinned_spki_sha256=tuple(configuration.pinned_spki_sha256),
        verify_depth=configuration.verify_depth,
    )
    downstream = host.downstream_configuration
    entry = HostEntry(
        host_id=str(host.pk),
        name=host.name,
        domains=tuple(domain.name for domain in host.domains.all()),
        preserve_host=host.preserve_host,
        websockets=host.websockets,
        upstreams=tuple(
            Upstream(
                upstream_id=str(upstream.pk),
                scheme="https" if upstream.scheme == "https" else "http",
                address=upstream.address,
                port=upstream.port,
            )
            for upstream in host.upstreams.all()
            if upstream.enabled
        ),
        upstream_tls=tls,
        downstream_tls=DownstreamTLS(
            certificate=downstream.certificate,
            key_spki_sha256=downstream.key_spki_sha256,
            force_https=downstream.force_https,
            hsts_max_age_s=downstream.hsts_max_age_s,
        ),
    )
    return entry, configuration.client_key if configuration.enabled else None, downstream.key
