"""What somebody thinks of changing, which hosts it concerns, and what each of them would then be.

Laws of this module:
- Nothing is saved. A candidate is a configuration in memory that `upstream_tls.services.apply_changes` has accepted.
- A certificate that no host uses is an error, never "nothing would break": whoever mistypes a fingerprint must not
  conclude that a CA can go.
"""

import re
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone

from hosts.connection_tests import candidate_configuration, last_tests_that_saw
from hosts.models import DownstreamTLSConfiguration, Host
from localca.models import IssuedCertificate
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_SERIAL_NUMBER = re.compile(r"[0-9a-f]{1,40}")


class Kind(StrEnum):
    """What would be changed."""

    REMOVE_CA_CERTIFICATE = "remove_ca_certificate"
    CA_CERTIFICATE = "ca_certificate"
    MIN_VERSION = "min_version"
    REPLACE_CERTIFICATE = "replace_certificate"
    REVOKE_CERTIFICATE = "revoke_certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, made by `planned`. `certificate`: the fingerprint of what is removed, replaced or revoked, or empty.

    `settings` are the new values that every host gets alike. `host_ids`: these hosts only; None: all.
    """

    kind: Kind
    certificate: str = ""
    settings: UpstreamTLSChanges = field(default_factory=UpstreamTLSChanges, repr=False)
    host_ids: frozenset[uuid.UUID] | None = None

    @property
    def is_testable(self) -> bool:
        """A revocation cannot be tried: an upstream knows of it only when it has been done."""
        return self.kind is not Kind.REVOKE_CERTIFICATE


def planned(
    kind: Kind,
    *,
    certificate: str = "",
    settings: UpstreamTLSChanges | None = None,
    host_ids: Collection[uuid.UUID] | None = None,
) -> Change:
    """A change whose values some host could have. One query at most.

    `certificate` is what an operator reads and types: a SHA-256 fingerprint, of a revocation the serial number; empty
    replaces the certificate of every host in `host_ids`. Raises ValidationError: keyed by setting, or without a field
    for the certificate.
    """
    settings = settings or UpstreamTLSChanges()
    apply_changes(UpstreamTLSConfiguration(), settings)
    if kind is Kind.REVOKE_CERTIFICATE:
        certificate = _fingerprint_of_issued(certificate)
    elif certificate or kind is Kind.REMOVE_CA_CERTIFICATE:
        certificate = _clean_hex(certificate, _FINGERPRINT, "A SHA-256 fingerprint has 64 hexadecimal digits.")
    return Change(
        kind=kind,
        certificate=certificate,
        settings=settings,
        host_ids=None if host_ids is None else frozenset(host_ids),
    )


def concerned_hosts(change: Change) -> list[Host]:
    """The hosts for which something would be different, with their configuration. At most six queries.

    Raises ValidationError without a field when the change names a certificate that none of the hosts uses.
    """
    hosts = _restricted(Host.objects.with_configuration(), change.host_ids)
    match change.kind:
        case Kind.MIN_VERSION:
            version = change.settings.min_version
            return [host for host in hosts if host.upstream_configuration.min_version < str(version)]
        case Kind.CA_CERTIFICATE:
            return list(hosts)
        case Kind.REMOVE_CA_CERTIFICATE:
            ids = _ids_trusting(change.certificate)
        case Kind.REVOKE_CERTIFICATE:
            ids = _ids_presenting(change.certificate) | _ids_showing(change.certificate)
            tested = last_tests_that_saw(change.certificate, hosts.values_list("pk", flat=True))
            ids |= {test.host_id for test in tested.values() if test.host_id is not None}
        case Kind.REPLACE_CERTIFICATE if change.certificate:
            ids = _ids_presenting(change.certificate)
        case Kind.REPLACE_CERTIFICATE:
            return list(hosts)
    found = list(hosts.filter(pk__in=ids))
    if not found:
        raise ValidationError("None of the hosts uses such a certificate.", code="unknown_certificate")
    return found


def candidate(host: Host, change: Change) -> UpstreamTLSConfiguration:
    """What the host's configuration would be, not saved. One query. Raises ValidationError."""
    settings = change.settings
    if change.kind is Kind.REMOVE_CA_CERTIFICATE:
        settings = UpstreamTLSChanges(ca_certificate=_without(host, change.certificate))
    return candidate_configuration(host, settings)


def note_on(host: Host, change: Change) -> str:
    """What a person must know beside the tests; empty: nothing."""
    configuration = host.upstream_configuration
    match change.kind:
        case Kind.REVOKE_CERTIFICATE:
            return _note_on_revocation(host, change.certificate)
        case Kind.REMOVE_CA_CERTIFICATE | Kind.CA_CERTIFICATE if configuration.is_verification_skipped(timezone.now()):
            return "Skip TLS Verification is on: its upstreams are not verified, by whatever CA."
        case Kind.REMOVE_CA_CERTIFICATE if not _without(host, change.certificate):
            return "No other certificate is in its CA bundle: the system trust store would verify its upstreams."
    return ""


def issuer_of(fingerprint: str) -> x509.Name:
    """Whoever issued this certificate of the local CA. One query."""
    issued = IssuedCertificate.objects.get(fingerprint_sha256=fingerprint)
    return x509.load_pem_x509_certificate(issued.chain_pem.encode("ascii")).issuer


def checks_revocation(host: Host, issuer: x509.Name) -> bool:
    """Whether the host looks at a revocation list of this CA."""
    configuration = host.upstream_configuration
    if configuration.is_verification_skipped(timezone.now()):
        return False
    return any(crl.issuer == issuer for crl in configuration.revocation_lists)


def _note_on_revocation(host: Host, fingerprint: str) -> str:
    notes = []
    configuration = host.upstream_configuration
    if configuration.enabled and _presents(configuration.client_certificate, fingerprint):
        notes.append(
            "It presents this certificate and has no other: upstreams that look at the CA's revocation list would "
            "refuse it."
        )
    if _presents(host.downstream_configuration.certificate, fingerprint):
        notes.append(
            "It shows this certificate to its clients: those that look at the revocation list would refuse it."
        )
    return " ".join(notes)


def _restricted(hosts: QuerySet[Host], host_ids: Collection[uuid.UUID] | None) -> QuerySet[Host]:
    return hosts if host_ids is None else hosts.filter(pk__in=host_ids)


def _fingerprint_of_issued(serial_number: str) -> str:
    digits = _clean_hex(serial_number, _SERIAL_NUMBER, "A serial number has at most 40 hexadecimal digits.")
    # Two digits an octet, as `aegis_site.kernel.certificates` writes it.
    issued = IssuedCertificate.objects.filter(serial_number=digits.zfill(len(digits) + len(digits) % 2)).first()
    if issued is None:
        raise ValidationError("The local CA has issued no such certificate.", code="unknown_certificate")
    return issued.fingerprint_sha256


def _ids_showing(fingerprint: str) -> set[uuid.UUID]:
    rows = DownstreamTLSConfiguration.objects.exclude(certificate="").values_list("host_id", "certificate")
    return _matching(rows, lambda text: _presents(text, fingerprint))


def _ids_presenting(fingerprint: str) -> set[uuid.UUID]:
    rows = UpstreamTLSConfiguration.objects.filter(enabled=True).values_list("host_id", "client_certificate")
    return _matching(rows, lambda text: _presents(text, fingerprint))


def _ids_trusting(fingerprint: str) -> set[uuid.UUID]:
    rows = UpstreamTLSConfiguration.objects.exclude(ca_certificate="").values_list("host_id", "ca_certificate")
    return _matching(rows, lambda text: fingerprint in _fingerprints(text))


def _matching(rows: Iterable[tuple[uuid.UUID, str]], is_wanted: Callable[[str], bool]) -> set[uuid.UUID]:
    """Parses each text once, however many hosts share it."""
    verdicts: dict[str, bool] = {}
    found = set()
    for host_id, text in rows:
        if text not in verdicts:
            verdicts[text] = is_wanted(text)
        if verdicts[text]:
            found.add(host_id)
    return found


def _presents(chain_pem: str, fingerprint: str) -> bool:
    return bool(chain_pem) and _fingerprint(x509.load_pem_x509_certificate(chain_pem.encode("ascii"))) == fingerprint


def _without(host: Host, fingerprint: str) -> str:
    """The host's CA bundle without one certificate."""
    bundle = x509.load_pem_x509_certificates(host.upstream_configuration.ca_certificate.encode("ascii"))
    kept = [certificate for certificate in bundle if _fingerprint(certificate) != fingerprint]
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in kept)


def _fingerprints(bundle_pem: str) -> set[str]:
    return {_fingerprint(found) for found in x509.load_pem_x509_certificates(bundle_pem.encode("ascii"))}


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _clean_hex(text: str, pattern: re.Pattern[str], message: str) -> str:
    digits = re.sub(r"[:\s]", "", text[:200]).lower()
    if not pattern.fullmatch(digits):
        raise ValidationError(message, code="invalid")
    return digits
