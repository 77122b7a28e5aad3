"""The routes of `/api/v1`, gathered from the apps."""

from django.urls import include, path, re_path
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

import aegis_site.access.openapi  # noqa: F401 (registers on import)
from aegis_site.api_document import DocsView, DocumentView
from aegis_site.kernel.api import ApiView, route

_URLS = {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}}


class RootView(ApiView):
    """Where everything begins."""

    name = "Aegis API"
    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="root", responses={200: _URLS})
    def get(self, request: Request) -> Response:
        """The addresses of the collections, the document and its page."""
        names = {
            "hosts": "api-host-list",
            "posture": "api-posture-list",
            "expiry": "api-expiry-list",
            "failures": "api-failure-list",
            "logs": "api-logs",
            "workers": "api-worker-list",
            "certificates": "api-certificate-list",
            "ca": "api-ca",
            "settings": "api-settings",
            "audit": "api-audit-list",
            "notification-channels": "api-notification-channel-list",
            "notification-deliveries": "api-notification-delivery-list",
            "maintenance-windows": "api-maintenance-window-list",
            "schema": "api-schema",
            "docs": "api-docs",
        }
        return Response({name: reverse(view_name, request=request) for name, view_name in names.items()})


class UnknownPathView(APIView):
    """Any other path: 404 as a problem document."""

    is_in_document = False
    authentication_classes = []
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        raise exceptions.NotFound("There is nothing at this path.")


urlpatterns = [
    path("", RootView.as_view(), name="api-root"),
    route("schema", DocumentView.as_view(), name="api-schema"),
    route("docs", DocsView.as_view(), name="api-docs"),
    path("", include("localca.api.urls")),
    path("", include("hosts.api.urls")),
    path("", include("healthchecks.api.urls")),
    path("", include("aegis_site.kernel.audit.api_urls")),
    path("", include("aegis_site.kernel.site_settings.api_urls")),
    path("", include("aegis_site.kernel.notifications.api_urls")),
    re_path("^.", UnknownPathView.as_view()),
]
