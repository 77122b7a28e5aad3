"""Which hosts depend on a CA of this installation: what `localca.retirement` asks before one is retired.

Laws of this module: it looks at what hosts present, as it is stored, whoever issued it; nothing is changed.
"""

from collections.abc import Collection, Iterator, Sequence

from cryptography import x509

from aegis_site.kernel.certificates import describe
from aegis_site.kernel.notifications.events import admin_page
from hosts.models import Host
from localca.models import CertificateAuthority
from localca.retirement import Dependent
from upstream_tls.stored import stored_certificates
from upstream_tls.tls.chain import is_issued_by


def hosts_presenting(authorities: Collection[CertificateAuthority]) -> Sequence[Dependent]:
    """The hosts that present a certificate of one of these CAs, to upstreams or to clients. One query."""
    issuers = [authority.certificate for authority in authorities]
    hosts = Host.objects.select_related("upstream_tls", "downstream_tls").order_by("name")
    return [found for host in hosts for found in _of_host(host, issuers)]


def _of_host(host: Host, issuers: Sequence[x509.Certificate]) -> Iterator[Dependent]:
    upstream, downstream = host.upstream_configuration, host.downstream_configuration
    uses = (
        ("client certificate", upstream.client_certificate if upstream.enabled else ""),
        ("certificate for its clients", downstream.certificate),
    )
    for use, text in uses:
        leaf = next(iter(stored_certificates(text)), None)
        if leaf is not None and any(is_issued_by(leaf, issuer) for issuer in issuers):
            facts = describe(leaf)
            yield Dependent(
                name=f"host {host.name} ({use})",
                certificate=facts.subject,
                fingerprint_sha256=facts.fingerprint_sha256,
                path=admin_page(host),
            )
