"""Errors of the API as problem documents (RFC 9457).

Laws of this module:
- Every error answer has the same shape: `type, title, status, detail, errors`; `errors` has at least one entry of
  `field` (a path such as `upstreams[0].address`; empty when no field is to blame), `code` (stable) and `message`.
- A message comes from this code base or from Django's validation. The text of any other exception goes to the log.
"""

import http
import logging
from collections.abc import Iterator
from typing import Any, TypedDict, cast

from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DatabaseError, IntegrityError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.keyring import KeyringError, SecretUnreadable

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"


class FieldError(TypedDict):
    """One thing that is wrong."""

    field: str
    code: str
    message: str


# What neither DRF nor a service has put into words, most specific first: status, code, message.
_UNWORDED: list[tuple[type[Exception], int, str, str]] = [
    (IntegrityError, 409, "conflict", "Another change of the same thing was faster. Read it again and retry."),
    (DatabaseError, 503, "database_unavailable", "The database does not answer. Try again later."),
    (RequestDataTooBig, 413, "body_too_large", "The request body is too large."),
    (SuspiciousOperation, 400, "bad_request", "The request cannot be accepted."),
    (Exception, 500, "internal_error", "Aegis failed to answer this request. The reason is in its log."),
]


def problem_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's EXCEPTION_HANDLER."""
    headers: dict[str, str] = {}
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.APIException):
        status, errors = error.status_code, list(_of_drf(error.detail))
        headers = _headers(error)
    elif isinstance(error, DjangoValidationError):
        status, errors = 400, list(_of_django(error))
    elif isinstance(error, AegisError):
        status = 503 if isinstance(error, KeyringError | SecretUnreadable) else 409
        errors = [FieldError(field="", code=error.code, message=error.message)]
    else:
        status, errors = _of_unworded(error, context)
    return _response(status, errors, headers, context)


def field_errors(error: DjangoValidationError | exceptions.ValidationError) -> list[FieldError]:
    """What a ValidationError of either kind says, as `errors` of a problem document say it."""
    return list(_of_drf(error.detail) if isinstance(error, exceptions.ValidationError) else _of_django(error))


def _response(status: int, errors: list[FieldError], headers: dict[str, str], context: dict[str, Any]) -> Response:
    document = {
        "type": "about:blank",  # RFC 9457 section 4.2.1: the status says it all, the title is its phrase
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": _detail(errors),
        "errors": errors,
    }
    # A browser gets the browsable page, whose type is its renderer's business.
    renderer = getattr(context.get("request"), "accepted_renderer", None)
    is_page = renderer is not None and renderer.format == "api"
    return Response(document, status=status, headers=headers, content_type=None if is_page else PROBLEM_MEDIA_TYPE)


def _detail(errors: list[FieldError]) -> str:
    if len(errors) > 1:
        return f"{len(errors)} values cannot be accepted."
    error = errors[0]
    return f"{error['field']}: {error['message']}" if error["field"] else error["message"]


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(challenge)
    if wait_s := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait_s) + 1)
    return headers


def _of_unworded(error: Exception, context: dict[str, Any]) -> tuple[int, list[FieldError]]:
    kind, status, code, message = next(entry for entry in _UNWORDED if isinstance(error, entry[0]))
    request = context.get("request")
    where = f"{request.method} {request.path}" if request is not None else "a request"
    level = logging.ERROR if status >= 500 else logging.WARNING
    logger.log(level, "%s failed: %s", where, kind.__name__, exc_info=error)
    return status, [FieldError(field="", code=code, message=message)]


def _of_django(error: DjangoValidationError) -> Iterator[FieldError]:
    """Services key their errors by path already."""
    fields = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    for path, problems in fields.items():
        for problem in problems:
            yield FieldError(
                field="" if path == NON_FIELD_ERRORS else path,
                code=problem.code or "invalid",
                message=" ".join(problem.messages),
            )


def _of_drf(detail: Any, path: str = "") -> Iterator[FieldError]:
    """DRF nests its errors as the data are nested; here each gets the path to its value."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            yield from _of_drf(value, _below(path, key))
    elif isinstance(detail, list):
        for index, item in enumerate(detail):
            # A list of texts is about the value itself, a list of lists or dicts about its items.
            yield from _of_drf(item, path if isinstance(item, str) else _below(path, index))
    else:
        yield FieldError(field=path, code=cast("exceptions.ErrorDetail", detail).code or "invalid", message=str(detail))


def _below(path: str, key: str | int) -> str:
    if key == api_settings.NON_FIELD_ERRORS_KEY:
        return path
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
