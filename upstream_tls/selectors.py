"""Questions about upstream TLS configurations."""

import datetime
from collections.abc import Iterable, Sequence

from cryptography import x509

from localca.models import CertificateAuthority
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.tls.credentials import parse_ca_bundle, parse_chain
from upstream_tls.tls.lint import LintWarning, lint

HostNames = dict[str, list[str]]


def host_names_by_key(configurations: Iterable[UpstreamTLSConfiguration]) -> HostNames:
    """The names of all hosts that present the client keys of `configurations`, by the key's fingerprint. One query."""
    fingerprints = {found.client_key_spki_sha256 for found in configurations if found.client_key_spki_sha256}
    rows = UpstreamTLSConfiguration.objects.filter(enabled=True, client_key_spki_sha256__in=fingerprints)
    names: HostNames = {}
    for fingerprint, name in rows.order_by("host__name").values_list("client_key_spki_sha256", "host__name"):
        names.setdefault(fingerprint, []).append(name)
    return names


def local_authorities() -> tuple[x509.Certificate, ...]:
    """The certificates of the local CA, former ones included. One query."""
    return tuple(authority.certificate for authority in CertificateAuthority.objects.all())


def warnings_of(
    configuration: UpstreamTLSConfiguration,
    *,
    host_name: str,
    sharing: HostNames,
    known: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> tuple[LintWarning, ...]:
    """What the lint says about what is stored. Parses every certificate; no query.

    `sharing` as from `host_names_by_key`, `known` as from `local_authorities`: a list of hosts asks for each once.
    """
    others = [name for name in sharing.get(configuration.client_key_spki_sha256, ()) if name != host_name]
    return lint(
        chain=parse_chain(configuration.client_certificate.encode()) if configuration.client_certificate else (),
        ca_bundle=parse_ca_bundle(configuration.ca_certificate.encode()) if configuration.ca_certificate else (),
        crls=configuration.revocation_lists,
        now=now,
        others=others if configuration.enabled else (),
        known=known,
    )
