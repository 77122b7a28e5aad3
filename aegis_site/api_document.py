"""The OpenAPI document of `/api/v1`, and Swagger UI on it.

Laws of this module: any signed-in user sees the whole document, whatever else the user may do; the page asks nobody but
this server for anything.
"""

from functools import cache
from typing import Any

from django.contrib import admin
from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2, OpenApiYamlRenderer2
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.api_policy import DownloadNegotiation


@cache
def api_document() -> dict[str, Any]:
    """The document. It depends on the code alone."""
    generator = SchemaGenerator()
    document: dict[str, Any] = generator.get_schema(request=None, public=True)
    return document


class DocumentView(ApiView):
    """What this API takes and gives, as an OpenAPI document in JSON or YAML."""

    permission_classes = [IsAuthenticated]
    renderer_classes = [OpenApiJsonRenderer2, OpenApiYamlRenderer2]

    @extend_schema(operation_id="schema", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """What this API takes and gives, as an OpenAPI document."""
        return Response(api_document())


class DocsView(ApiView):
    """The document as a page on which it can be tried."""

    permission_classes = [IsAuthenticated]
    content_negotiation_class = DownloadNegotiation

    @extend_schema(operation_id="docs", responses={(200, "text/html"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        """The document as a page."""
        context = {**admin.site.each_context(request._request), "title": "API"}
        return render(request._request, "aegis_site/api_docs.html", context)
