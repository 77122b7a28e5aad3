"""Which hosts a report of postures is about.

Laws of this module: what rows can answer is asked of the database; expiry stands in certificates, so those of all hosts
are read, each different one once. At most five queries.
"""

import datetime
import uuid
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

from hosts.connection_tests import ends_of_upstream_certificates
from hosts.models import DownstreamTLSConfiguration, Scheme, Upstream
from hosts.querysets import HostQuerySet
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.stored import stored_ends


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureFilter:
    """None asks for nothing. `expiring_within_days` counts what is over already, on both sides of the host."""

    exceptions: bool | None = None
    mtls: bool | None = None
    expiring_within_days: int | None = None
    tag: str | None = None


def filtered(hosts: HostQuerySet, wanted: PostureFilter, *, now: datetime.datetime) -> HostQuerySet:
    """Those of the hosts that are wanted."""
    if wanted.tag is not None:
        hosts = hosts.tagged(wanted.tag)
    if wanted.exceptions is not None:
        is_skipped = Q(pk__in=hosts.skipping_verification(now).values("pk"))
        plain = Upstream.objects.filter(host=OuterRef("pk"), scheme=Scheme.HTTP)
        has_exception = hosts.filter(is_skipped | Q(Exists(plain))).values("pk")
        hosts = hosts.filter(pk__in=has_exception) if wanted.exceptions else hosts.exclude(pk__in=has_exception)
    if wanted.mtls is not None:
        enabled = UpstreamTLSConfiguration.objects.filter(enabled=True).values("host_id")
        hosts = hosts.filter(pk__in=enabled) if wanted.mtls else hosts.exclude(pk__in=enabled)
    if wanted.expiring_within_days is not None:
        moment = now + datetime.timedelta(days=wanted.expiring_within_days)
        hosts = hosts.filter(pk__in=_expiring_before(moment))
    return hosts


def _expiring_before(moment: datetime.datetime) -> set[uuid.UUID]:
    upstream = UpstreamTLSConfiguration.objects
    presented = upstream.filter(enabled=True).values_list("host_id", "client_certificate")
    trusted = upstream.exclude(ca_certificate="").values_list("host_id", "ca_certificate")
    shown = DownstreamTLSConfiguration.objects.exclude(certificate="").values_list("host_id", "certificate")
    found = {host_id for host_id, not_after in ends_of_upstream_certificates() if not_after < moment}
    for rows in (presented, trusted, shown):
        found |= {host_id for host_id, pem in rows if any(end < moment for end in stored_ends(pem))}
    return found
