"""`?format=`."""

import pytest
from rest_framework import exceptions
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from aegis_site.kernel.negotiation import FormatNegotiation


class Table(JSONRenderer):
    media_type = "text/csv"
    format = "csv"


RENDERERS = [JSONRenderer(), BrowsableAPIRenderer(), Table()]


def chosen(query: str, accept: str = "*/*") -> str:
    request = Request(APIRequestFactory().get(f"/?{query}", headers={"Accept": accept}))
    renderer, media_type = FormatNegotiation().select_renderer(request, RENDERERS)
    assert renderer.media_type == media_type
    return media_type


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "*/*", "application/json"),
        ("", "text/csv", "text/csv"),
        ("", "text/html", "text/html"),
        ("format=csv", "text/html", "text/csv"),
        ("format=json", "text/csv", "application/json"),
    ],
)
def test_the_parameter_goes_before_accept(query: str, accept: str, expected: str) -> None:
    """Without it, Accept decides as everywhere."""
    assert chosen(query, accept) == expected


@pytest.mark.parametrize("name", ["", "xml", "api", "CSV"])
def test_another_format(name: str) -> None:
    """Is refused at the parameter, and so is that of pages, which are for Accept."""
    with pytest.raises(exceptions.ValidationError) as raised:
        chosen(f"format={name}")
    assert raised.value.get_codes() == {"format": "invalid_choice"}


def test_a_media_type_that_nobody_writes() -> None:
    """406."""
    with pytest.raises(exceptions.NotAcceptable):
        chosen("", "image/png")
