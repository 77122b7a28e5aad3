"""Tells the audit log which request a change belongs to."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.origin import Origin, source
from aegis_site.kernel.client_address import client_address

API_PREFIX = "/api/"


class AuditSourceMiddleware:
    """Sets the source of all that a request changes: the admin or the API, and the client's address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        origin = Origin.API if request.path_info.startswith(API_PREFIX) else Origin.ADMIN

        def actor() -> Actor | None:
            # A token's user is known once DRF has read it, which puts it here as well.
            return getattr(request, "user", None)

        with source(origin, client_address=client_address(request), actor=actor):
            return self.get_response(request)
