"""Refuses requests whose body Django would not see.

Laws of this module: what a client sends is taken whole or refused. Django takes a request without Content-Length for
one without a body, so that of a chunked one all would be dropped in silence, and a PATCH would change nothing and say
that all is well.
"""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse

_MESSAGE = "Send the body with Content-Length; Transfer-Encoding is not taken here."


class LengthRequiredMiddleware:
    """411 for a body with a transfer coding (RFC 9110 section 15.5.12), as a problem document."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "HTTP_TRANSFER_ENCODING" not in request.META:
            return self.get_response(request)
        status = HTTPStatus.LENGTH_REQUIRED
        document = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status,
            "detail": _MESSAGE,
            "errors": [{"field": "", "code": "length_required", "message": _MESSAGE}],
        }
        return JsonResponse(document, status=status, content_type="application/problem+json")
