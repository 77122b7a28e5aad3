"""validators: what may stand in the fields of a health check."""

import pytest
from django.core.exceptions import ValidationError

from healthchecks.validators import (
    parse_statuses,
    validate_body_text,
    validate_headers,
    validate_host_field,
    validate_path,
    validate_statuses,
)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("200-399", ((200, 399),)),
        ("200, 204,300 - 308", ((200, 200), (204, 204), (300, 308))),
    ],
)
def test_statuses_that_can_be_expected(text: str, ranges: object) -> None:
    """Single ones and ranges."""
    assert parse_statuses(text) == ranges


@pytest.mark.parametrize("text", ["", "2xx", "399-200", "100-200", "200-600", "200,,204", "200-", "-200", "٢٠٠"])
def test_statuses_that_cannot(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError, match="such as 200-399"):
        validate_statuses(text)


@pytest.mark.parametrize("path", ["/", "/healthz?full=1&x=%20", "//a"])
def test_paths(path: str) -> None:
    """With a query."""
    validate_path(path)


@pytest.mark.parametrize("path", ["", "healthz", "/a b", "/a\r\nHost: x", "/a#b", "/ä", "/\x00"])
def test_no_paths(path: str) -> None:
    """Nothing that ends the request line."""
    with pytest.raises(ValidationError):
        validate_path(path)


@pytest.mark.parametrize("text", ["", "orders.internal", "orders:8443", "10.0.0.7", "[::1]:80", "a_b"])
def test_host_fields(text: str) -> None:
    """A name or an address, perhaps a port; nothing is as traffic sends it."""
    validate_host_field(text)


@pytest.mark.parametrize("text", ["a b", "a\r\nb", "a/b", "ä", "[x]", "a:b", "a:123456"])
def test_no_host_fields(text: str) -> None:
    """Nothing that ends the field."""
    with pytest.raises(ValidationError):
        validate_host_field(text)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_no_body_texts(text: str) -> None:
    """What no database takes."""
    with pytest.raises(ValidationError):
        validate_body_text(text)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("X-Probe", "aegis", ""),
        ("Accept", "text/plain", ""),
        ("a b", "x", "invalid"),
        ("", "x", "invalid"),
        ("X", "", "invalid"),
        ("X", "a\r\nb", "invalid"),
        ("X", "ä", "invalid"),
        ("Host", "x", "reserved"),
        ("content-length", "0", "reserved"),
        ("Authorization", "x", "sensitive"),
        ("Cookie", "x", "sensitive"),
        ("X", "Bearer abc", "sensitive"),
    ],
)
def test_headers(name: str, value: str, code: str) -> None:
    """Fields of a request that frame nothing and are no credentials."""
    headers = [{"name": name, "value": value}]
    if not code:
        validate_headers(headers)
        return
    with pytest.raises(ValidationError) as caught:
        validate_headers(headers)
    assert [problem.code for problem in caught.value.error_list] == [code]


def test_too_many_headers() -> None:
    """Before any of them is looked at."""
    with pytest.raises(ValidationError, match="At most 20"):
        validate_headers([{"name": " ", "value": ""}] * 21)


def test_an_error_names_its_field_in_ascii() -> None:
    """Whatever was sent."""
    with pytest.raises(ValidationError) as caught:
        validate_headers([{"name": "\ud800" * 500, "value": "x"}])
    assert caught.value.messages[0].startswith("?" * 100 + ": ")
