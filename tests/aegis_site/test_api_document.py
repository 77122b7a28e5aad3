"""The OpenAPI document and the page on it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema

from aegis_site.api_document import api_document
from aegis_site.api_urls import UnknownPathView

METHODS = ("get", "post", "put", "patch", "delete")

OPERATIONS = [
    pytest.param(method, path, operation, id=operation["operationId"])
    for path, operations in api_document()["paths"].items()
    for method, operation in operations.items()
]


def routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("api/v1"):
            yield path, pattern.callback


def methods_of(view: Any) -> set[str]:
    found = set(getattr(view, "actions", None) or {name for name in METHODS if hasattr(view.cls, name)})
    return found & set(METHODS)


def plain(path: str) -> str:
    """A route's expression as the document writes paths."""
    named = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", lambda found: f"{{{found[1].replace('pk', 'id')}}}", path)
    return "/" + re.sub(r"[\^$\\]", "", named).replace("/?", "").rstrip("/")


def test_the_document_is_valid_and_made_without_a_warning() -> None:
    """By OpenAPI's own schema; every serializer, field and parameter was understood."""
    api_document.cache_clear()
    GENERATOR_STATS.reset()
    document = api_document()
    assert dict(GENERATOR_STATS._warn_cache) == {}
    assert dict(GENERATOR_STATS._error_cache) == {}
    validate_schema(document)


def test_every_route_is_in_the_document() -> None:
    """With each of its methods, and nothing else is."""
    expected = {
        (method, plain(path))
        for path, view in routes(get_resolver().url_patterns)
        if view.cls is not UnknownPathView
        for method in methods_of(view)
    }
    assert {(method, path) for path, found in api_document()["paths"].items() for method in found} == expected


@pytest.mark.django_db
def test_the_document_is_served_in_two_formats(admin_client: Client) -> None:
    """JSON for whoever asks for nothing, YAML on request; both are the same document."""
    as_json = admin_client.get("/api/v1/schema")
    assert as_json["Content-Type"].startswith("application/json")
    as_yaml = admin_client.get("/api/v1/schema", headers={"Accept": "application/yaml"})
    assert as_yaml["Content-Type"].startswith("application/yaml")
    assert as_json.json() == json.loads(json.dumps(yaml.safe_load(as_yaml.content)))
    assert as_json.json()["paths"].keys() == api_document()["paths"].keys()


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["schema", "docs"])
def test_any_signed_in_user_sees_it(client: Client, path: str) -> None:
    """Without any permission; nobody else does."""
    response = client.get(f"/api/v1/{path}")
    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
    client.force_login(User.objects.create_user("nobody"))
    assert client.get(f"/api/v1/{path}").status_code == 200


@pytest.mark.django_db
def test_the_page_asks_nobody_else(admin_client: Client) -> None:
    """No script, style or image from another server, and none in the page itself."""
    page = admin_client.get("/api/v1/docs").content.decode()
    assert 'data-document="/api/v1/schema"' in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    own = [name for name in re.findall(r'/static/((?:aegis_site|drf_spectacular_sidecar)[^"]+)"', page)]
    assert len(own) >= 4
    assert all(finders.find(name) for name in own)
