"""Conditional requests (RFC 9110 section 13): ETags, and what clients ask about them.

Laws of this module: an ETag is strong and belongs to one media type; a precondition that cannot be evaluated to true
fails, for a lost update is worse than a repetition. Pages for people have no ETag: each has a CSRF token of its own.
"""

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import parse_etags
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

PAGE_FORMAT = "api"


class PreconditionFailed(exceptions.APIException):
    """The representation is no longer the one that the client saw."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"
    default_detail = "It was changed meanwhile. Read it again and retry."


def etag_of(representation: Any, *, media_type: str = JSONRenderer.media_type) -> str:
    """The strong ETag of what a client is shown."""
    content = representation if isinstance(representation, bytes) else JSONRenderer().render(representation)
    if media_type != JSONRenderer.media_type:
        # RFC 9110 section 8.8.3: representations of different media types must not share a strong ETag.
        content = media_type.encode() + b"\n" + content
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def etag_of_response(response: HttpResponseBase, request: Request) -> str | None:
    """The ETag of an answer that is not rendered yet. None: it has none, as pages and streams."""
    if isinstance(response, Response):
        renderer = request.accepted_renderer
        return None if renderer.format == PAGE_FORMAT else etag_of(response.data, media_type=renderer.media_type)
    if isinstance(response, HttpResponse) and not response["Content-Type"].startswith("text/html"):
        return etag_of(response.content, media_type=response["Content-Type"])
    return None


def check_if_match(request: HttpRequest | Request, current: str) -> None:
    """Honours If-Match. Raises PreconditionFailed when the client's ETag is not the current one."""
    field_value = request.META.get("HTTP_IF_MATCH")
    # `*` asks for any representation, and there is one. A weak ETag never matches (RFC 9110 section 13.1.1).
    if field_value and field_value.strip() != "*" and current not in parse_etags(field_value):
        raise PreconditionFailed


def matches_if_none_match(request: HttpRequest | Request, current: str) -> bool:
    """Whether If-None-Match names the current representation, in which case a GET is answered by 304."""
    field_value = request.META.get("HTTP_IF_NONE_MATCH", "")
    # The comparison is weak (RFC 9110 section 13.1.2): a cache may have turned a strong ETag into a weak one.
    return field_value.strip() == "*" or current in [etag.removeprefix("W/") for etag in parse_etags(field_value)]


def is_conditional(request: HttpRequest | Request) -> bool:
    """Whether a request depends on the current representation."""
    return bool(request.META.get("HTTP_IF_MATCH") or request.META.get("HTTP_IF_NONE_MATCH"))
