"""Which request a change belongs to."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from aegis_site.kernel.audit.middleware import AuditSourceMiddleware
from aegis_site.kernel.audit.origin import Origin, Source, current_source


def source_of(path: str, **meta: Any) -> Source:
    seen: list[Source] = []

    def view(request: HttpRequest) -> HttpResponse:
        request.user = AnonymousUser()  # as DRF does it, when it has read a token
        seen.append(current_source())
        return HttpResponse()

    AuditSourceMiddleware(view)(RequestFactory().get(path, **meta))
    assert current_source().origin == Origin.SYSTEM
    return seen[0]


def test_admin_and_api_are_told_apart() -> None:
    """By the path; the user is the one who is signed in when it is asked for."""
    assert source_of("/admin/hosts/host/add/").origin == Origin.ADMIN
    assert source_of("/api/v1/hosts").origin == Origin.API
    assert source_of("/api/v1/hosts").actor() == AnonymousUser()


@pytest.mark.parametrize(
    ("remote", "address"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"), ("", None), ("x", None)],
)
def test_the_address_is_that_of_the_connection(remote: str, address: str | None) -> None:
    """A forwarding field is the word of whoever sent it; a unix socket has no address."""
    found = source_of("/admin/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR="198.51.100.1")
    assert found.client_address == address
