"""Pages for requests that never reach a view."""

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import bad_request as default_bad_request


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: a form that is too large gets 413 and is told the limit and the way out."""
    if not isinstance(exception, RequestDataTooBig):
        return default_bad_request(request, exception)
    limit_mib = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // (1024 * 1024)
    return render(request, "aegis_site/form_too_large.html", {"limit_mib": limit_mib}, status=413)
