"""The health of a host's upstreams in the HTTP API."""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from healthchecks.api.serializers import HostHealthSerializer
from healthchecks.selectors import health_of
from hosts.models import Host


class HostHealthView(ApiView):
    """How the upstreams of one host stand."""

    queryset = Host.objects.all()

    @extend_schema(responses={200: HostHealthSerializer})
    def get(self, request: Request, pk: str) -> Response:
        """State, last check, changes of state, recent checks and uptime of each upstream of one host."""
        host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
        return Response(HostHealthSerializer(health_of(host, now=timezone.now())).data)
