"""Every error of the API as a problem document."""

import json
import logging
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.db import IntegrityError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.keyring import KeyringError, SecretUnreadable
from aegis_site.kernel.problems import field_errors, problem_handler


def handle(error: Exception) -> Response:
    return problem_handler(error, {"request": APIRequestFactory().post("/api/v1/hosts")})


@pytest.mark.parametrize(
    ("error", "status", "title", "code", "message"),
    [
        (Http404("secret model name"), 404, "Not Found", "not_found", "Not found."),
        (
            PermissionDenied("why"),
            403,
            "Forbidden",
            "permission_denied",
            "You do not have permission to perform this action.",
        ),
        (exceptions.NotFound("no CA yet"), 404, "Not Found", "not_found", "no CA yet"),
        (
            exceptions.NotAuthenticated(),
            401,
            "Unauthorized",
            "not_authenticated",
            "Authentication credentials were not provided.",
        ),
        (
            exceptions.MethodNotAllowed("PUT"),
            405,
            "Method Not Allowed",
            "method_not_allowed",
            'Method "PUT" not allowed.',
        ),
        (AegisError("issuance_failed", "It expired."), 409, "Conflict", "issuance_failed", "It expired."),
        (KeyringError("ssl_key_missing", "No key."), 503, "Service Unavailable", "ssl_key_missing", "No key."),
        (SecretUnreadable("secret_damaged", "Bad."), 503, "Service Unavailable", "secret_damaged", "Bad."),
        (
            IntegrityError("UNIQUE constraint failed: hosts_domain.name"),
            409,
            "Conflict",
            "conflict",
            "Another change of the same thing was faster. Read it again and retry.",
        ),
        (
            OperationalError("password authentication failed"),
            503,
            "Service Unavailable",
            "database_unavailable",
            "The database does not answer. Try again later.",
        ),
        (SuspiciousOperation("details"), 400, "Bad Request", "bad_request", "The request cannot be accepted."),
        (
            RuntimeError("canary"),
            500,
            "Internal Server Error",
            "internal_error",
            "Aegis failed to answer this request. The reason is in its log.",
        ),
    ],
)
def test_single_errors(error: Exception, status: int, title: str, code: str, message: str) -> None:
    """Each kind of error has its status, a stable code, and a text without anybody's internals."""
    response = handle(error)
    assert response.status_code == status
    assert response.data == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": message,
        "errors": [{"field": "", "code": code, "message": message}],
    }
    assert response.content_type == "application/problem+json"


def test_the_reason_of_a_server_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What the client is not told stands in the log, with method and path."""
    handle(RuntimeError("canary"))
    (record,) = caplog.records
    assert record.getMessage() == "POST /api/v1/hosts failed: Exception"
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "canary" in str(record.exc_info[1])


def test_the_errors_of_services_keep_their_paths() -> None:
    """All errors of a service are listed, each with its path and code."""
    response = handle(
        ValidationError(
            {
                "upstreams[0].address": [ValidationError("Bad address.", code="invalid")],
                "upstream_tls.client_key": [ValidationError("Does not match.", code="key_mismatch")],
                "__all__": [ValidationError("Altogether wrong.")],
            }
        )
    )
    assert response.status_code == 400
    assert response.data["detail"] == "3 values cannot be accepted."
    assert response.data["errors"] == [
        {"field": "upstreams[0].address", "code": "invalid", "message": "Bad address."},
        {"field": "upstream_tls.client_key", "code": "key_mismatch", "message": "Does not match."},
        {"field": "", "code": "invalid", "message": "Altogether wrong."},
    ]


def test_a_single_field_is_named_in_the_detail() -> None:
    """Whoever reads only `detail` learns what is wrong and where."""
    response = handle(ValidationError({"name": [ValidationError("Too %(what)s.", params={"what": "long"})]}))
    assert response.data["detail"] == "name: Too long."


def test_an_error_without_field() -> None:
    """A plain ValidationError belongs to no field."""
    assert handle(ValidationError("No.", code="no")).data["errors"] == [{"field": "", "code": "no", "message": "No."}]


def test_the_errors_of_serializers_get_paths() -> None:
    """DRF's nested errors become the same paths."""

    def text(message: str, code: str = "invalid") -> Any:
        return [exceptions.ErrorDetail(message, code=code)]

    detail = {
        "upstreams": [{}, {"port": text("A valid integer is required.")}],
        "upstream_tls": {"enabled": text("Must be a boolean."), "non_field_errors": text("Not a dict.")},
        "domains": {1: text("Not a string.")},
        "name": text("Missing.", "required"),
        "non_field_errors": text("Altogether wrong."),
    }
    errors = handle(exceptions.ValidationError(detail)).data["errors"]
    assert [(error["field"], error["message"], error["code"]) for error in errors] == [
        ("upstreams[1].port", "A valid integer is required.", "invalid"),
        ("upstream_tls.enabled", "Must be a boolean.", "invalid"),
        ("upstream_tls", "Not a dict.", "invalid"),
        ("domains[1]", "Not a string.", "invalid"),
        ("name", "Missing.", "required"),
        ("", "Altogether wrong.", "invalid"),
    ]
    json.dumps(errors)


def test_headers_of_errors() -> None:
    """A challenge and a waiting time are passed on."""
    unauthenticated = exceptions.NotAuthenticated()
    unauthenticated.auth_header = "Token"  # type: ignore[attr-defined]
    assert handle(unauthenticated)["WWW-Authenticate"] == "Token"
    assert handle(exceptions.Throttled(wait=2.4))["Retry-After"] == "4"


def test_field_errors_of_both_kinds() -> None:
    """For whoever gathers errors of many things into one answer."""
    django_error = ValidationError({"upstreams[0].port": ValidationError("Too low.", code="min_value")})
    expected = {"field": "upstreams[0].port", "code": "min_value", "message": "Too low."}
    assert field_errors(django_error) == [expected]
    detail = {"upstreams": [{"port": [exceptions.ErrorDetail("Too low.", code="min_value")]}]}
    assert field_errors(exceptions.ValidationError(detail)) == [expected]
