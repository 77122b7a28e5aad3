"""The health of a host's upstreams in the HTTP API.

Laws of this module: `healthchecks.selectors` make the documents; serializers only describe them. To have them read each
field of a thousand points took twice as long as everything else.
"""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from healthchecks.api.serializers import HealthHistorySerializer, HistoryQuerySerializer, HostHealthSerializer
from healthchecks.history import Period, Range
from healthchecks.selectors import health_of, history_of
from hosts.models import Host


class HostHealthView(ApiView):
    """How the upstreams of one host stand."""

    queryset = Host.objects.all()

    @extend_schema(responses={200: HostHealthSerializer})
    def get(self, request: Request, pk: str) -> Response:
        """State, last check, changes of state, the last hour and uptime of each upstream of one host."""
        host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
        return Response(health_of(host, now=timezone.now()))


class HostHealthHistoryView(ApiView):
    """How the upstreams of one host stood."""

    queryset = Host.objects.all()

    @extend_schema(parameters=[HistoryQuerySerializer], responses={200: HealthHistorySerializer})
    def get(self, request: Request, pk: str) -> Response:
        """The states of each upstream of one host over a time, and how often and how fast it answered in it.

        At most 180 points for each upstream: minutes of an hour, ten minutes of a day, hours of a week, four hours of
        thirty days. Minutes are kept for two hours, ten minutes for a week and hours for a month; states for ever.
        """
        wanted = HistoryQuerySerializer.values_of(request)
        host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
        period = Period.ending(wanted.get("until"), range_=Range(wanted["range"]), now=timezone.now())
        return Response(history_of(host, period, upstream_id=wanted.get("upstream")))
