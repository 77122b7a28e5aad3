"""Routes and queries."""

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import resolve
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.api_policy import DownloadNegotiation
from aegis_site.kernel.downloads import attachment

IDENTIFIER = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("path", ["hosts", f"hosts/{IDENTIFIER}", "ca", "ca/trust-bundle", "workers"])
def test_paths_with_and_without_trailing_slash(path: str) -> None:
    """Both spellings lead to the same view."""
    with_slash, without = resolve(f"/api/v1/{path}/"), resolve(f"/api/v1/{path}")
    assert with_slash.url_name == without.url_name
    assert without.url_name is not None


@pytest.mark.django_db
@pytest.mark.parametrize("slash", ["", "/"])
def test_writes_are_never_redirected(admin_client: Client, slash: str) -> None:
    """A POST or PUT is answered where it was sent."""
    assert admin_client.post(f"/api/v1/hosts{slash}", {}, content_type="application/json").status_code == 400
    put = admin_client.put(f"/api/v1/hosts/{IDENTIFIER}{slash}", {}, content_type="application/json")
    assert put.status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["hosts?nmae=x", "workers?enabled=true", "ca?page=1", "schema?format=json", "?a=b"])
def test_unknown_query_parameters_are_refused(admin_client: Client, path: str) -> None:
    """400 at the parameter's name: a misspelt filter must not show everything."""
    response = admin_client.get(f"/api/v1/{path}")
    (error,) = response.json()["errors"]
    assert (response.status_code, error["code"]) == (400, "unknown_parameter")
    assert error["field"] == path.partition("?")[2].partition("=")[0]


class Switch(ApiView):
    """A view that is no view set, with something to change."""

    permission_classes = [AllowAny]
    is_on = True

    def get(self, request: Request) -> Response:
        return Response({"is_on": Switch.is_on})

    def patch(self, request: Request) -> Response:
        Switch.is_on = not Switch.is_on
        return self.get(request)


class File(ApiView):
    """A download that can be deleted."""

    permission_classes = [AllowAny]
    content_negotiation_class = DownloadNegotiation

    def get(self, request: Request) -> HttpResponse:
        return attachment(b"content", media_type="text/plain", file_name="a.txt")

    def delete(self, request: Request) -> Response:
        return Response(status=204)


class Command(ApiView):
    """Something that is done and never shown."""

    permission_classes = [AllowAny]

    def delete(self, request: Request) -> Response:
        return Response(status=204)


def ask(view: type[ApiView], method: str, **headers: str) -> Any:
    request = getattr(APIRequestFactory(), method)(
        "/", headers={name.replace("_", "-"): headers[name] for name in headers}
    )
    return view.as_view()(request)


@pytest.mark.django_db
@pytest.mark.parametrize(("view", "method"), [(Switch, "patch"), (File, "delete")])
def test_every_view_honours_preconditions(view: type[ApiView], method: str) -> None:
    """With the ETag of what its own GET shows, whatever kind of view it is."""
    etag = ask(view, "get")["ETag"]
    assert ask(view, method, If_Match='"other"').status_code == 412
    assert ask(view, method, If_None_Match=etag).status_code == 412
    changed = ask(view, method, If_Match=etag)
    assert changed.status_code in (200, 204)
    assert changed.status_code == 204 or changed["ETag"] == ask(view, "get")["ETag"] != etag


@pytest.mark.django_db
def test_what_is_never_shown_meets_no_precondition() -> None:
    """412: there is nothing that it could be compared with."""
    assert ask(Command, "delete").status_code == 204
    assert ask(Command, "delete", If_Match="*").status_code == 412


@pytest.mark.parametrize("method", ["put", "options"])
def test_methods_that_a_view_does_not_have(method: str) -> None:
    """405, and OPTIONS as ever."""
    assert ask(Command, method).status_code == (405 if method == "put" else 200)
