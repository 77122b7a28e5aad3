"""Server names."""

import pytest
from django.core.exceptions import ValidationError

from upstream_tls.validators import clean_server_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ""),
        ("  ", ""),
        ("Orders.Internal", "orders.internal"),
        (" orders.internal. ", "orders.internal"),
        ("orders", "orders"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_names_are_lower_case_a_labels(text: str, name: str) -> None:
    """White space and a final dot go, other scripts are encoded."""
    assert clean_server_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["10.0.0.7", "[::1]", "::1", "*.example.com", "a b", "a..b", "-a.b", "a_b", "a:443", "https://a", "x" * 64],
)
def test_what_cannot_be_a_server_name_is_refused(text: str) -> None:
    """Addresses, wildcards and anything that is not a DNS name (RFC 6066 section 3)."""
    with pytest.raises(ValidationError):
        clean_server_name(text)


def test_an_endless_name_is_refused_with_the_bound() -> None:
    """The bound is named before anything looks at the text."""
    with pytest.raises(ValidationError, match="at most 253 characters"):
        clean_server_name("ü" * 1_000_000)
