"""Questions about upstream TLS configurations."""

import datetime
from collections.abc import Iterable, Iterator, Sequence

from cryptography import x509
from django.db.models import F, Q, QuerySet

from localca.models import CertificateAuthority
from localca.selectors import active_authority
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.stored import stored_certificates
from upstream_tls.tls.credentials import parse_ca_bundle, parse_chain
from upstream_tls.tls.lint import LintWarning, lint
from upstream_tls.tls.peer import accepted_by, subject_name

HostNames = dict[str, list[str]]

# A test waits for these: of a fleet that large a part is looked at.
MAX_BUNDLES = 200
MAX_CHAINS = 1000


def host_names_by_key(configurations: Iterable[UpstreamTLSConfiguration]) -> HostNames:
    """The names of all hosts that present the client keys of `configurations`, by the key's fingerprint. One query."""
    fingerprints = {found.client_key_spki_sha256 for found in configurations if found.client_key_spki_sha256}
    rows = UpstreamTLSConfiguration.objects.filter(enabled=True, client_key_spki_sha256__in=fingerprints)
    names: HostNames = {}
    for fingerprint, name in rows.order_by("host__name").values_list("client_key_spki_sha256", "host__name"):
        names.setdefault(fingerprint, []).append(name)
    return names


def exceptions_over(now: datetime.datetime) -> QuerySet[UpstreamTLSConfiguration]:
    """The configurations that skip verification although the exception's end date is over."""
    return UpstreamTLSConfiguration.objects.filter(skip_verify=True, skip_verify_until__lte=now)


def exceptions_in_force(now: datetime.datetime) -> QuerySet[UpstreamTLSConfiguration]:
    """The configurations of hosts that are on by which any certificate is accepted, those without an end date first."""
    in_force = Q(skip_verify_until=None) | Q(skip_verify_until__gt=now)
    rows = UpstreamTLSConfiguration.objects.filter(in_force, skip_verify=True, host__enabled=True)
    return rows.select_related("host").order_by(F("skip_verify_until").asc(nulls_first=True), "host__name")


def local_authorities() -> tuple[x509.Certificate, ...]:
    """The certificates of the local CA, former ones included. One query."""
    return tuple(authority.certificate for authority in CertificateAuthority.objects.all())


def known_certificates() -> tuple[x509.Certificate, ...]:
    """What may have issued an upstream's certificate: the local CA, and the CA bundles of the hosts. Two queries."""
    bundles = UpstreamTLSConfiguration.objects.exclude(ca_certificate="").order_by("ca_certificate")
    texts = bundles.values_list("ca_certificate", flat=True).distinct()[:MAX_BUNDLES]
    return (*local_authorities(), *(found for text in texts for found in parse_ca_bundle(text.encode())))


def acceptable_identities(acceptable_names: Sequence[str], *, now: datetime.datetime) -> tuple[str, ...]:
    """What is stored here that an upstream which accepts these CAs (RFC 4514 strings) would take, for an operator.

    Client certificates that are not over, with their hosts, and the local CA if it is among them. Empty names accept
    everything, which tells nothing: empty. Two queries.
    """
    if not acceptable_names:
        return ()
    found = []
    rows = UpstreamTLSConfiguration.objects.exclude(client_certificate="").order_by("host__name")
    for name, text in rows.values_list("host__name", "client_certificate")[:MAX_CHAINS]:
        chain = parse_chain(text.encode())
        if chain[0].not_valid_after_utc > now and accepted_by(acceptable_names, chain):
            found.append(f"{subject_name(chain[0])} of host {name}")
    authority = active_authority()
    if authority is not None and any(subject_name(one.certificate) in acceptable_names for one in authority.path):
        found.append("any that the local CA issues")
    return tuple(found)


def warnings_of(
    configuration: UpstreamTLSConfiguration,
    *,
    host_name: str,
    sharing: HostNames,
    known: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> tuple[LintWarning, ...]:
    """What the lint says about what is stored. No query.

    `sharing` as from `host_names_by_key`, `known` as from `local_authorities`: a list of hosts asks for each once.
    """
    others = [name for name in sharing.get(configuration.client_key_spki_sha256, ()) if name != host_name]
    return *_lint_exception(configuration), *lint(
        chain=stored_certificates(configuration.client_certificate),
        ca_bundle=stored_certificates(configuration.ca_certificate),
        crls=configuration.revocation_lists,
        now=now,
        others=others if configuration.enabled else (),
        known=known,
    )


def _lint_exception(configuration: UpstreamTLSConfiguration) -> Iterator[LintWarning]:
    if configuration.skip_verify and configuration.skip_verify_until is None:
        yield LintWarning(
            "skip_verify_without_end",
            "skip_verify_until",
            "The upstream's certificate is not verified, and nothing ends that: whoever sits in between can read along "
            "until somebody remembers. Set an end date.",
        )
