"""Postures in the HTTP API: one host's, and the whole fleet's as JSON pages or as one CSV."""

from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView, ApiViewSet
from aegis_site.kernel.api_policy import Pagination
from aegis_site.kernel.filters import Ordering, Search
from aegis_site.kernel.negotiation import FormatNegotiation
from aegis_site.kernel.serializers import QuerySerializer
from aegis_site.kernel.throttling import count_report
from hosts.models import Host, Scheme
from hosts.posture import postures
from hosts.posture_csv import TooManyReports, csv_response
from hosts.posture_filters import PostureFilter, filtered
from hosts.posture_findings import Severity
from hosts.querysets import HostQuerySet
from hosts.validators import MAX_TAG_CHARACTERS

MAX_DAYS = 36500


class CsvRenderer(JSONRenderer):
    """Makes `text/csv` something that can be asked for. The view writes it; an error stays the JSON that it is."""

    media_type = "text/csv"
    format = "csv"


class PostureQuerySerializer(QuerySerializer):
    """Which hosts: with or without exceptions, with or without mTLS, of a tag, with a certificate that ends soon."""

    exceptions = serializers.BooleanField(required=False)
    mtls = serializers.BooleanField(required=False)
    tag = serializers.CharField(required=False, max_length=MAX_TAG_CHARACTERS)
    expiring_within_days = serializers.IntegerField(required=False, min_value=0, max_value=MAX_DAYS)


class PostureCertificateSerializer(serializers.Serializer[Any]):
    """A certificate, in short. The times of an upstream's certificate are null when they cannot be read."""

    subject = serializers.CharField(allow_blank=True)
    issuer = serializers.CharField(allow_blank=True)
    serial_number = serializers.CharField()
    fingerprint_sha256 = serializers.CharField()
    key_type = serializers.CharField()
    not_before = serializers.DateTimeField(allow_null=True)
    not_after = serializers.DateTimeField(allow_null=True)
    days_left = serializers.IntegerField(allow_null=True)


class PostureMTLSSerializer(serializers.Serializer[Any]):
    """The identity that upstreams are shown; null when none is."""

    enabled = serializers.BooleanField()
    identity = PostureCertificateSerializer(allow_null=True)


class PostureRevocationListSerializer(serializers.Serializer[Any]):
    """A stored revocation list."""

    issuer = serializers.CharField(allow_blank=True)
    next_update = serializers.DateTimeField(allow_null=True)


class PostureVerificationSerializer(serializers.Serializer[Any]):
    """By what the upstreams' certificates are verified. Pins count in each case."""

    verified_by = serializers.ChoiceField(choices=["system_trust_store", "ca_certificate", "nothing"])
    ca_certificates = PostureCertificateSerializer(many=True)
    pinned_spki_sha256 = serializers.ListField(child=serializers.CharField())
    revocation_lists = PostureRevocationListSerializer(many=True)
    verify_depth = serializers.IntegerField(allow_null=True)


class PostureNamesSerializer(serializers.Serializer[Any]):
    """The names as they are set; each upstream has the effective ones."""

    server_name = serializers.CharField(allow_blank=True)
    verify_name = serializers.CharField(allow_blank=True)


class PostureVersionsSerializer(serializers.Serializer[Any]):
    """What may be negotiated."""

    min_version = serializers.CharField()
    max_version = serializers.CharField()
    ciphers = serializers.CharField(allow_blank=True)
    alpn = serializers.ListField(child=serializers.CharField())


class PostureTestSerializer(serializers.Serializer[Any]):
    """The last connection test of the host as saved. `is_current`: the host was not changed since."""

    tested_at = serializers.DateTimeField()
    is_current = serializers.BooleanField()
    success = serializers.BooleanField()
    verified = serializers.BooleanField()
    code = serializers.CharField(allow_blank=True)
    tls_version = serializers.CharField(allow_null=True)
    cipher = serializers.CharField(allow_null=True)
    alpn = serializers.CharField(allow_null=True, allow_blank=True)
    client_certificate_requested = serializers.BooleanField(allow_null=True)
    client_certificate_sent = serializers.BooleanField(allow_null=True)
    http_status = serializers.IntegerField(allow_null=True)
    leaf = PostureCertificateSerializer(allow_null=True)


class PostureUpstreamSerializer(serializers.Serializer[Any]):
    """One upstream with the names that are sent and looked for, and what was negotiated."""

    id = serializers.UUIDField()
    scheme = serializers.ChoiceField(choices=Scheme.values)
    address = serializers.CharField()
    port = serializers.IntegerField()
    enabled = serializers.BooleanField()
    server_name = serializers.CharField(allow_blank=True)
    verify_name = serializers.CharField(allow_blank=True)
    last_test = PostureTestSerializer(allow_null=True)


class PostureDownstreamSerializer(serializers.Serializer[Any]):
    """What clients are shown; null: a certificate of the worker's own making."""

    certificate = PostureCertificateSerializer(allow_null=True)
    force_https = serializers.BooleanField()


class PostureExceptionSerializer(serializers.Serializer[Any]):
    """`skip_verify` with who, why, since when and until when, or `plain_http` with its upstreams."""

    kind = serializers.ChoiceField(choices=["skip_verify", "plain_http"])
    by = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    upstreams = serializers.ListField(child=serializers.CharField())


class PostureFindingSerializer(serializers.Serializer[Any]):
    """Something to look at."""

    code = serializers.CharField()
    severity = serializers.ChoiceField(choices=[str(severity) for severity in Severity])
    message = serializers.CharField()


class PostureSerializer(serializers.Serializer[Any]):
    """How one host stands."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    mtls = PostureMTLSSerializer()
    verification = PostureVerificationSerializer()
    names = PostureNamesSerializer()
    versions = PostureVersionsSerializer()
    upstreams = PostureUpstreamSerializer(many=True)
    downstream = PostureDownstreamSerializer()
    exceptions = PostureExceptionSerializer(many=True)
    findings = PostureFindingSerializer(many=True)


class HostPostureView(ApiView):
    """The posture of one host."""

    queryset = Host.objects.all()

    @extend_schema(operation_id="hosts_posture", responses={200: PostureSerializer})
    def get(self, request: Request, pk: str) -> Response:
        """Identity, trust, names, versions, expiry, exceptions and the last test of one host."""
        host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
        (document,) = postures([host], now=timezone.now())
        return Response(document)


class PostureViewSet(ApiViewSet):
    """The postures of all hosts."""

    serializer_class = PostureSerializer
    content_negotiation_class = FormatNegotiation
    queryset = Host.objects.all()
    filter_backends = [Search, Ordering]
    search_fields = ["name", "domains__name", "upstreams__address"]
    ordering_fields = ["name", "enabled"]
    ordering = ["name"]

    def get_renderers(self) -> list[BaseRenderer]:
        return [*super().get_renderers(), CsvRenderer()]

    def get_queryset(self) -> HostQuerySet:
        return Host.objects.with_configuration()

    @extend_schema(
        parameters=[
            PostureQuerySerializer,
            OpenApiParameter(
                "format", str, enum=["csv", "json"], description="Overrides Accept; json unless asked for."
            ),
        ],
        responses={(200, "application/json"): PostureSerializer(many=True), (200, "text/csv"): OpenApiTypes.STR},
    )
    def list(self, request: Request) -> HttpResponseBase:
        """A page of postures; as CSV (`?format=csv`, `Accept: text/csv`) those of all hosts that match, streamed.

        Of CSV a user gets ten a minute, and all users together eight at once.
        """
        now = timezone.now()
        hosts = self.filter_queryset(filtered(self.get_queryset(), _wanted(request), now=now))
        if getattr(request.accepted_renderer, "format", "") == CsvRenderer.format:
            Pagination().check(request)
            if (wait_s := count_report(request.user.pk)) is not None:
                raise exceptions.Throttled(wait=wait_s)
            try:
                return csv_response(hosts, now=now)
            except TooManyReports as error:
                raise exceptions.Throttled(wait=error.wait_s) from error
        page = self.paginate_queryset(hosts)
        return self.get_paginated_response(postures(page or (), now=now))


def _wanted(request: Request) -> PostureFilter:
    return PostureFilter(**PostureQuerySerializer.values_of(request))
