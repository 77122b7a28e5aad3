"""The timeline of everything that ends in the HTTP API: as JSON pages, and as Prometheus's gauge."""

import datetime
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView, ApiViewSet
from aegis_site.kernel.api_policy import DownloadNegotiation
from aegis_site.kernel.filters import MAX_TEXT_CHARACTERS
from aegis_site.kernel.serializers import QuerySerializer
from hosts.expiry.expiring import ABOUT, Expiring, Horizon, Role, horizon_of
from hosts.expiry.metrics import MEDIA_TYPE, gauge
from hosts.expiry.timeline import ExpiryFilter, timeline
from hosts.models import Host

MAX_DAYS = 36500


class ExpiryQuerySerializer(QuerySerializer):
    """What of the timeline: of a role, ending within so many days or over, with all these words."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    within_days = serializers.IntegerField(required=False, min_value=0, max_value=MAX_DAYS)
    search = serializers.CharField(required=False, allow_blank=True, max_length=MAX_TEXT_CHARACTERS)


class ExpiryOwnerSerializer(serializers.Serializer[Any]):
    """The row to act on, and where the admin shows it. `name` of an issued certificate: what it was issued for."""

    type = serializers.ChoiceField(choices=["host", "certificateauthority", "issuedcertificate"])
    id = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True)
    page = serializers.CharField()


class ExpirySerializer(serializers.Serializer[Any]):
    """One thing that ends. `subject` of a revocation list is its issuer.

    `upstream` and `seen_at` say which upstream showed it and when; null for what is stored here.
    """

    role = serializers.ChoiceField(choices=Role.choices)
    owner = ExpiryOwnerSerializer()
    subject = serializers.CharField(allow_blank=True)
    fingerprint_sha256 = serializers.CharField()
    not_after = serializers.DateTimeField()
    days_left = serializers.IntegerField()
    horizon = serializers.ChoiceField(choices=Horizon.choices)
    upstream = serializers.CharField(allow_null=True)
    seen_at = serializers.DateTimeField(allow_null=True)
    fix = serializers.CharField()


class ExpiryViewSet(ApiViewSet):
    """Everything that ends."""

    serializer_class = ExpirySerializer
    queryset = Host.objects.all()
    filter_backends = []

    @extend_schema(parameters=[ExpiryQuerySerializer], responses={200: ExpirySerializer(many=True)})
    def list(self, request: Request) -> Response:
        """A page of the timeline, the first end first."""
        now = timezone.now()
        wanted = ExpiryFilter(**ExpiryQuerySerializer.values_of(request))
        found = timeline(user=request.user, wanted=wanted, now=now)
        page = self.paginate_queryset(found)
        return self.get_paginated_response([_document(one, now) for one in page or ()])


class ExpiryMetricsView(ApiView):
    """The timeline for Prometheus."""

    queryset = Host.objects.all()
    content_negotiation_class = DownloadNegotiation

    @extend_schema(operation_id="expiry_metrics", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        """The gauge `aegis_expiry_not_after_seconds`, one sample for each thing that ends."""
        found = timeline(user=request.user, wanted=ExpiryFilter(), now=timezone.now())
        return HttpResponse(gauge(found), content_type=MEDIA_TYPE)


def _document(found: Expiring, now: datetime.datetime) -> dict[str, Any]:
    return {
        "role": str(found.role),
        "owner": {
            "type": found.model._meta.model_name,
            "id": str(found.pk),
            "name": found.owner,
            "page": found.page,
        },
        "subject": found.subject,
        "fingerprint_sha256": found.fingerprint_sha256,
        "not_after": _text(found.not_after),
        "days_left": found.days_left(now),
        "horizon": str(horizon_of(found.not_after, now)),
        "upstream": found.upstream or None,
        "seen_at": _text(found.seen_at) if found.seen_at else None,
        "fix": ABOUT[found.role].fix,
    }


def _text(moment: datetime.datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
