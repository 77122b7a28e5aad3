"""What views say about themselves without being told."""

import re
from typing import Any

import pytest
from rest_framework.test import APIRequestFactory

from aegis_site.api_document import api_document
from aegis_site.kernel.openapi import plain_paths
from aegis_site.kernel.problems import problem_handler
from tests.aegis_site.test_api_document import OPERATIONS

SCHEMAS = api_document()["components"]["schemas"]
PUBLIC = ("/api/v1/ca/aegis-local-ca.crt", "/api/v1/ca/crl", "/api/v1/ca/authorities/{id}/crl")


def names_of(operation: dict[str, Any], place: str) -> set[str]:
    return {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == place}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_header_fields(method: str, path: str, operation: dict[str, Any]) -> None:
    """Keys for POST, preconditions for everything else; an ETag wherever something can be read or changed."""
    expected = {"Idempotency-Key"} if method == "post" else {"If-Match", "If-None-Match"}
    assert names_of(operation, "header") == expected
    responses = operation["responses"]
    if method != "post" and "200" in responses:
        assert "ETag" in responses["200"]["headers"]
    assert ("304" in responses) == (method == "get")
    assert ("412" in responses) == (method != "post")
    assert ("422" in responses) == (method == "post")


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_problem_has_its_document(method: str, path: str, operation: dict[str, Any]) -> None:
    """One component for all of them, with the media type of RFC 9457 and a reason."""
    problems = {code: answer for code, answer in operation["responses"].items() if code >= "400"}
    assert {"400", "503"} <= set(problems)
    assert ("401" in problems) == (path not in PUBLIC)
    for answer in problems.values():
        assert answer["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        assert answer["description"]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_how_operations_are_called(method: str, path: str, operation: dict[str, Any]) -> None:
    """By their collection and what is done to it; each has a line that says what it does, and a description."""
    words = re.sub("[^a-z]+", "_", re.sub("[{].*?[}]", "", path.removeprefix("/api/v1"))).strip("_")
    verbs = ("list", "create", "retrieve", "update", "partial_update", "destroy", "sealed")
    names = {words or "root", *(f"{words}_{verb}" for verb in verbs)}
    assert operation["operationId"] in names | {"ca_certificate"}
    assert operation["description"].startswith(operation["summary"])
    assert 0 < len(operation["summary"]) <= 100
    assert not operation["summary"].endswith(".")


def test_no_component_is_called_twice_what_it_is() -> None:
    """Nor does one have a name with a number or a hash that came of a collision."""
    assert [name for name in SCHEMAS if re.search(r"RequestRequest|[0-9]", name)] == []


def test_the_problem_of_the_document_is_the_one_that_is_sent() -> None:
    """Field by field."""
    problem = problem_handler(RuntimeError(), {"request": APIRequestFactory().get("/")}).data
    assert set(SCHEMAS["Problem"]["properties"]) == set(problem)
    assert set(SCHEMAS["FieldError"]["properties"]) == set(problem["errors"][0])


def test_what_is_sent_and_what_is_shown() -> None:
    """Keys are only sent, facts only shown; a request may leave things out, a representation is whole."""
    sent, shown = SCHEMAS["UpstreamTLSRequest"], SCHEMAS["UpstreamTLS"]
    secrets = {"client_key", "client_pkcs12", "client_key_passphrase"}
    assert set(sent["properties"]) - set(shown["properties"]) == secrets
    assert "client_key_set" in set(shown["properties"]) - set(sent["properties"])
    assert (sent["additionalProperties"], sent.get("required", [])) == (False, [])
    assert shown["required"] == sorted(shown["properties"])


def test_bounds_that_services_check() -> None:
    """The document has them although no serializer does."""
    assert SCHEMAS["TimeoutsRequest"]["properties"]["connect_s"] | {"type": "number"} == {
        "type": "number",
        "format": "double",
        "minimum": 0.1,
        "maximum": 300,
    }
    assert SCHEMAS["HostRequest"]["properties"]["name"]["maxLength"] == 100


def test_paths_are_plain() -> None:
    """Without trailing slash, each once, and without what asks not to be in the document."""

    class Shown:
        cls = object

    class Hidden:
        class cls:
            is_in_document = False

    endpoints = [("/a/", "r", "GET", Shown), ("/a", "r", "GET", Shown), ("/b", "r", "GET", Hidden)]
    assert [path for path, *_ in plain_paths(endpoints)] == ["/a"]
