"""How the lists of hosts and workers are filtered."""

import datetime
import uuid
from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from aegis_site.kernel.filters import BooleanFilter, ChoiceFilter, MomentFilter, TextFilter
from hosts.models import DownstreamTLSConfiguration, Host, LoadBalancing, ProxyWorker
from hosts.querysets import HostQuerySet
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.stored import stored_ends


class HostFilter(filters.FilterSet):
    """Hosts that fit all of what is given."""

    name = TextFilter(lookup_expr="iexact", help_text="The whole name, in any case.")
    domain = TextFilter(field_name="domains__name", lookup_expr="iexact", help_text="One of its domains, whole.")
    upstream = TextFilter(
        field_name="upstreams__address", lookup_expr="iexact", distinct=True, help_text="An upstream's address, whole."
    )
    tag = TextFilter(method="tagged", help_text="One of its tags, whole.")
    enabled = BooleanFilter(help_text="Whether it carries traffic.")
    mtls = BooleanFilter(field_name="upstream_tls__enabled", help_text="Whether it presents a client certificate.")
    skip_verify = BooleanFilter(
        field_name="upstream_tls__skip_verify", help_text="Whether its upstreams are not verified."
    )
    load_balancing = ChoiceFilter(choices=LoadBalancing.choices)
    certificate_expires_before = MomentFilter(
        method="expiring", help_text="Its client certificate, or the one that clients see, ends before."
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte", help_text="Made then or later.")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt", help_text="Made before.")
    updated_after = MomentFilter(field_name="updated_at", lookup_expr="gte", help_text="Last changed then or later.")
    updated_before = MomentFilter(field_name="updated_at", lookup_expr="lt", help_text="Last changed before.")

    class Meta:
        model = Host
        fields: list[str] = []

    def tagged(self, queryset: HostQuerySet, name: str, tag: str) -> HostQuerySet:
        """No query of its own."""
        return queryset.tagged(tag)

    def expiring(self, queryset: QuerySet[Host], name: str, moment: datetime.datetime) -> QuerySet[Host]:
        """Two queries; looks into every stored chain, for the end of a certificate has no column."""
        return queryset.filter(pk__in=list(_ending_before(moment)))


class WorkerFilter(filters.FilterSet):
    """Workers that fit all of what is given."""

    version = TextFilter(help_text="The version of Aegis that it runs, whole.")
    has_rejected = BooleanFilter(method="rejecting", help_text="Whether it cannot use the configuration of a host.")
    seen_after = MomentFilter(field_name="last_seen_at", lookup_expr="gte", help_text="Heard of then or later.")
    seen_before = MomentFilter(field_name="last_seen_at", lookup_expr="lt", help_text="Last heard of before.")

    class Meta:
        model = ProxyWorker
        fields: list[str] = []

    def rejecting(self, queryset: QuerySet[ProxyWorker], name: str, wanted: bool) -> QuerySet[ProxyWorker]:
        """No query of its own."""
        nothing = Q(rejected={})
        return queryset.filter(~nothing if wanted else nothing)


def _ending_before(moment: datetime.datetime) -> Iterator[uuid.UUID]:
    rows: list[tuple[Any, str]] = [
        *UpstreamTLSConfiguration.objects.exclude(client_certificate="").values_list("host", "client_certificate"),
        *DownstreamTLSConfiguration.objects.exclude(certificate="").values_list("host", "certificate"),
    ]
    for host_id, text in rows:
        if stored_ends(text)[0] < moment:
            yield host_id
