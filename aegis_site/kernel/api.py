"""What every view of `/api/v1` is made of.

Laws of this module: a path works with and without its trailing slash and never redirects; what a client sends is taken
whole or refused; a change can be bound to the representation that the client saw; a POST with a key is done once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from django.http import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from aegis_site.kernel.conditional import (
    PreconditionFailed,
    check_if_match,
    etag_of,
    etag_of_response,
    is_conditional,
    matches_if_none_match,
)
from aegis_site.kernel.idempotency.requests import Replayed, claim_for, keep_answer
from aegis_site.kernel.openapi import check_query
from aegis_site.kernel.serializers import CertificateFactsSerializer, StrictSerializer

__all__ = [
    "ApiView",
    "ApiViewSet",
    "CertificateFactsSerializer",
    "PreconditionFailed",
    "Router",
    "StrictSerializer",
    "check_if_match",
    "etag_of",
    "route",
]

Handler = Callable[..., HttpResponseBase]


class _Requests(APIView):
    """What all views do with a request before and after their own handler has it."""

    _claimed: Any = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = str(request.method).lower()
        handler = getattr(self, method, None)
        if method not in self.http_method_names or handler is None or method == "options":
            return
        check_query(self, request)
        if method in ("get", "head"):
            setattr(self, method, partial(self._conditional_read, handler))
        elif method == "post":
            self._claimed = claim_for(request)
        else:
            setattr(self, method, partial(self._conditional_change, handler))

    def handle_exception(self, exc: Exception) -> Any:
        return exc.response() if isinstance(exc, Replayed) else super().handle_exception(exc)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        if self._claimed is not None:
            keep_answer(self._claimed, final)
        return final

    def lock_for_change(self) -> None:
        """Hold up other changes of the same thing until the transaction ends, so that If-Match cannot be overtaken."""

    def _conditional_read(self, handler: Handler, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """A representation with its ETag, or 304 when the client has it."""
        response = handler(request, *args, **kwargs)
        etag = etag_of_response(response, request) if response.status_code == status.HTTP_200_OK else None
        if etag is None:
            return response
        check_if_match(request, etag)
        if matches_if_none_match(request, etag):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
        response.headers["ETag"] = etag
        return response

    def _conditional_change(self, handler: Handler, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """What a change answers: with its ETag, which is that of a GET. Raises PreconditionFailed."""
        if not is_conditional(request):
            response = handler(request, *args, **kwargs)
        else:
            with transaction.atomic():
                self.lock_for_change()
                self._check_preconditions(request, *args, **kwargs)
                response = handler(request, *args, **kwargs)
        etag = etag_of_response(response, request) if response.status_code == status.HTTP_200_OK else None
        if etag is not None and hasattr(self, "get"):
            response.headers["ETag"] = etag
        return response

    def _check_preconditions(self, request: Request, *args: Any, **kwargs: Any) -> None:
        show: Handler | None = getattr(self, "get", None)
        if show is None:
            raise PreconditionFailed
        shown = show(request, *args, **kwargs)
        # As JSON even when this answer is to be a page: that is where the client has its ETag from.
        current = etag_of(shown.data) if isinstance(shown, Response) else etag_of_response(shown, request)
        if current is None or matches_if_none_match(request, current):
            raise PreconditionFailed
        check_if_match(request, current)


# An id in a path.
UUID_PATTERN = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


class ApiView(_Requests):
    """A view of `/api/v1`."""


class ApiViewSet(_Requests, GenericViewSet[Any]):
    """A view set of `/api/v1`. What `retrieve` shows is what If-Match is about."""

    def lock_for_change(self) -> None:
        lookup = {self.lookup_field: self.kwargs[self.lookup_url_kwarg or self.lookup_field]}
        self.get_queryset().model._base_manager.select_for_update().filter(**lookup).first()


class Router(SimpleRouter):
    """Routes of view sets, with and without trailing slash."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


def route(path: str, view: Callable[..., HttpResponseBase], *, name: str) -> URLPattern:
    """The route of one view, with and without trailing slash. `path` is a regular expression without anchors."""
    return re_path(rf"^{path}/?$", view, name=name)
