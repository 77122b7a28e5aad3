"""Pages for requests that never reach a view, or whose view fails."""

import sys

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import bad_request as default_bad_request
from django.views.defaults import server_error as default_server_error

# An import of a thousand hosts, which keeps SQLite to itself, is over by then.
RETRY_AFTER_S = 30


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: a form that is too large gets 413 and is told the limit and the way out."""
    if not isinstance(exception, RequestDataTooBig):
        return default_bad_request(request, exception)
    limit_mib = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // (1024 * 1024)
    return render(request, "aegis_site/form_too_large.html", {"limit_mib": limit_mib}, status=413)


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: of a database that is busy or away a person learns that it is not Aegis that failed."""
    if not isinstance(sys.exc_info()[1], OperationalError):
        return default_server_error(request)
    page = render(request, "aegis_site/database_busy.html", status=503)
    page["Retry-After"] = str(RETRY_AFTER_S)
    return page
