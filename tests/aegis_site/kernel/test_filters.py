"""Filters, search and order, as every list has them."""

import datetime
from typing import Any

import pytest
from django.test import Client

from aegis_site.kernel.filters import MomentField, TruthField
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "query",
    [
        "enabled=perhaps",
        "enabled=",
        "enabled=1",
        "load_balancing=fastest",
        "load_balancing=",
        "created_after=yesterday",
        "created_after=",
        "created_after=2026-02-30T00:00:00Z",
        "created_after=0001-01-01T00:00:00%2B23:59",
        "ordering=secret",
        "ordering=name,updated",
        "ordering=--name",
        "search=nul%00",
        "name=nul%00",
        f"search={'x' * 301}",
        f"name={'x' * 301}",
        "page=0",
        "page=-1",
        "page=last",
        "page=",
        "page=%D9%A1",
        "page=99999999999999999999",
        "page_size=0",
        "page_size=501",
        "page_size=x",
    ],
)
def test_values_that_cannot_be_used(admin_client: Client, query: str) -> None:
    """400 at the parameter's name, never a list of everything."""
    response = admin_client.get(f"/api/v1/hosts?{query}")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), response.content
    assert {error["field"] for error in response.json()["errors"]} == {query.partition("=")[0]}


@pytest.mark.parametrize("query", ["page=2", "page=1000000&page_size=500"])
def test_a_page_that_is_not_there(admin_client: Client, query: str) -> None:
    """404: the list may have had it a moment ago."""
    assert admin_client.get(f"/api/v1/hosts?{query}").status_code == 404


def test_order_and_pages(admin_client: Client) -> None:
    """By several names, in both directions, a page at a time with links to the next and the last one."""
    for name in ("b", "a", "c"):
        make_host(name)

    def shown(query: str) -> Any:
        return admin_client.get(f"/api/v1/hosts?{query}").json()

    assert [host["name"] for host in shown("ordering=-name")["results"]] == ["c", "b", "a"]
    assert [host["name"] for host in shown("ordering=enabled,created_at")["results"]] == ["b", "a", "c"]
    first = shown("page_size=2")
    assert (first["count"], len(first["results"]), first["previous"]) == (3, 2, None)
    second = admin_client.get(first["next"]).json()
    assert [host["name"] for host in second["results"]] == ["c"]
    assert second["next"] is None


def test_truths_and_moments() -> None:
    """What is absent filters nothing; a moment without an offset is UTC, letters may be small."""
    assert [TruthField().clean(value) for value in (None, "true", "false")] == [None, True, False]
    noon = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
    for text in ("2026-05-01T12:00:00Z", "2026-05-01t14:00:00+02:00", "2026-05-01 12:00"):
        assert MomentField().clean(text) == noon
    assert MomentField().clean(None) is None
