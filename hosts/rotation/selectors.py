"""Questions about rotations and the certificates that they exchange."""

import datetime
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.db.models import QuerySet

from hosts.models import CompiledHost, Host, Scheme, Upstream, UpstreamFailure
from hosts.rotation.judging import TRAFFIC_CODE_PREFIX, Verdict
from hosts.rotation.models import IssuedCandidate, Rotation
from localca.models import IssuedCertificate, Status
from upstream_tls.models import UpstreamTLSConfiguration

# Certificate and key: whether they are presented, and which.
Pair = tuple[bool, str, str]

# A worker that hears nothing of a change polls for it every five seconds: until then it is the old identity that fails.
SETTLING = datetime.timedelta(seconds=5)


def rotations_of(host_id: uuid.UUID) -> QuerySet[Rotation]:
    """All rotations of a host, newest first, without keys. One query."""
    return Rotation.objects.without_keys().filter(host_id=host_id).select_related("requested_by")


def open_rotation(host_id: uuid.UUID) -> Rotation | None:
    """The rotation that stands in the way of another one. One query."""
    return Rotation.objects.without_keys().open().filter(host_id=host_id).first()


def pair_in_use(configuration: UpstreamTLSConfiguration) -> Pair:
    """What tells whether somebody changed the identity meanwhile. No query."""
    return configuration.enabled, configuration.client_certificate, configuration.client_key_spki_sha256


def previous_pair(rotation: Rotation) -> Pair:
    """What was in use when the rotation was staged."""
    return rotation.previous_enabled, rotation.previous_certificate, rotation.previous_key_spki_sha256


def candidate_pair(rotation: Rotation) -> Pair:
    """What is in use once it is promoted."""
    return True, rotation.candidate_certificate, rotation.candidate_key_spki_sha256


def https_upstreams(host: Host) -> list[Upstream]:
    """Those that are to admit the candidate. No query `with_configuration`."""
    return [upstream for upstream in host.upstreams.all() if upstream.enabled and upstream.scheme == Scheme.HTTPS]


def is_probe_outdated(rotation: Rotation) -> bool:
    """Whether the host was changed since it was probed. No query for a rotation read with its host."""
    return rotation.probed_version != rotation.host.updated_at


def not_admitting(rotation: Rotation) -> list[list[str]]:
    """Id and address of the upstreams that do not admit the candidate, by its last probe. Pure."""
    return [[probe["upstream"], probe["target"]] for probe in rotation.probes if probe["verdict"] != Verdict.ADMITTED]


def last_renewable(certificate: IssuedCertificate) -> IssuedCertificate | None:
    """It, or the last successor of which no person has the key; None when a person has one.

    Those were issued for rotations, of this host or of another one that shares the certificate, and that may be deleted
    since. Two queries for each successor.
    """
    while (successor := certificate.successor) is not None:
        if not IssuedCandidate.objects.filter(pk=successor.pk).exists():
            return None
        certificate = IssuedCertificate.objects.for_display().get(pk=successor.pk)
    return certificate


def lost_certificate(rotation: Rotation) -> IssuedCertificate | None:
    """The candidate, when the local CA issued it for this rotation, it is still good, and no host presents its key.

    Three queries at most.
    """
    issued = IssuedCertificate.objects.for_display().filter(fingerprint_sha256=rotation.candidate_fingerprint_sha256)
    found = issued.first()
    if found is None or found.status != Status.VALID or not IssuedCandidate.objects.filter(pk=found.pk).exists():
        return None
    users = UpstreamTLSConfiguration.objects.filter(client_key_spki_sha256=rotation.candidate_key_spki_sha256)
    return None if users.exists() else found


def why_unusable(chain_pem: str, *, now: datetime.datetime) -> tuple[str, str] | None:
    """Code and message when nobody could accept this certificate at `now`; None when it is usable. One query."""
    leaf = x509.load_pem_x509_certificate(chain_pem.encode("ascii"))
    clock = f"The clock of Aegis says {now:%Y-%m-%d %H:%M} UTC."
    if now < leaf.not_valid_before_utc:
        text = f"The certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC. {clock}"
        return "client_certificate_not_before", text
    if now >= leaf.not_valid_after_utc:
        text = f"The certificate has expired, on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC. {clock}"
        return "client_certificate_not_after", text
    fingerprint = leaf.fingerprint(hashes.SHA256()).hex()
    if IssuedCertificate.objects.filter(fingerprint_sha256=fingerprint, revoked_at__isnull=False).exists():
        return "client_certificate_revoked", "The local CA has revoked this certificate."
    return None


def refused_in_traffic(rotation: Rotation) -> dict[uuid.UUID, UpstreamFailure]:
    """By upstream, what workers that present the promoted certificate met. Two queries.

    Only failures that can mean nothing but the certificate, later than SETTLING after the promotion.
    """
    if rotation.promoted_at is None:
        return {}
    compiled = CompiledHost.objects.filter(pk=rotation.host_id, source_updated_at__gte=rotation.promoted_at)
    generation = compiled.values_list("generation", flat=True).first()
    if generation is None:  # not published yet: every worker still presents the previous one
        return {}
    failures = UpstreamFailure.objects.filter(
        upstream__host_id=rotation.host_id,
        code__startswith=TRAFFIC_CODE_PREFIX,
        at__gt=rotation.promoted_at + SETTLING,
        worker__generation__gte=generation,
    )
    return {failure.upstream_id: failure for failure in failures.order_by("at")}
