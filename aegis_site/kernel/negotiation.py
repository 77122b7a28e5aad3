"""How a view chooses the media type of its answer where a query parameter may say it."""

from typing import Any

from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from aegis_site.kernel.conditional import PAGE_FORMAT


class FormatNegotiation(DefaultContentNegotiation):
    """For views with `?format=`, which overrides Accept: a link has no header section.

    A format is the `format` of one of the view's renderers; any other is refused at the parameter.
    """

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        name = request.query_params.get("format")
        if name is None:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
            return chosen
        known = {renderer.format: renderer for renderer in renderers if renderer.format != PAGE_FORMAT}
        if name not in known:
            raise exceptions.ValidationError({"format": f"One of {', '.join(sorted(known))}."}, code="invalid_choice")
        return known[name], known[name].media_type
