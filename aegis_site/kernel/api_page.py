"""The API in a browser: the same answers as pages, in the look of the admin.

Laws of this module: a page shows what the API answers and nothing more; a change is sent by the page's script as any
client would send it, as JSON with a CSRF token and the ETag of what is shown.
"""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.template.loader import render_to_string
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer

from aegis_site.kernel.conditional import PAGE_FORMAT, etag_of

_BODY_METHODS = ("POST", "PUT", "PATCH")


class PageRenderer(BrowsableAPIRenderer):
    """`text/html` for whoever asks for it."""

    format = PAGE_FORMAT
    template = "aegis_site/api_page.html"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        context = renderer_context or {}
        request, response, view = context["request"], context["response"], context["view"]
        is_error = response.status_code >= 400
        changes = [method for method in view.allowed_methods if method in (*_BODY_METHODS, "DELETE")]
        page = {
            **admin.site.each_context(request._request),
            # The admin's menu is for whoever is signed in.
            "is_popup": not request.user.is_authenticated,
            "title": view.get_view_name(),
            "description": (type(view).__doc__ or "").strip().partition("\n")[0],
            "method": request.method,
            "path": request.get_full_path(),
            "status": f"{response.status_code} {response.status_text}",
            "headers": sorted(_shown(response.items())),
            "content": self._indented(data),
            "methods": [] if is_error else changes,
            "draft": self._indented(data) if "PUT" in changes and not is_error else "{}",
            # A page has no ETag; the representation on it has.
            "etag": "" if is_error else etag_of(data),
        }
        return render_to_string(self.template, page, request=request._request)

    @staticmethod
    def _indented(data: Any) -> str:
        return "" if data is None else JSONRenderer().render(data, "application/json; indent=2").decode()


def _shown(headers: Any) -> list[tuple[str, str]]:
    pairs: Mapping[str, str] = dict(headers)
    return [(name, value) for name, value in pairs.items() if name != "Content-Type"]
