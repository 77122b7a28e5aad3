"""Domains and addresses."""

import pytest
from django.core.exceptions import ValidationError

from hosts.validators import Between, clean_address, clean_domain, clean_hsts_max_age, clean_tags, validate_printable


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Orders.Example.COM", "orders.example.com"),
        (" orders.example.com. ", "orders.example.com"),
        ("*.example.com", "*.example.com"),
        ("localhost", "localhost"),
        ("demo.localhost", "demo.localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_domains_are_lower_case_a_labels(text: str, domain: str) -> None:
    """Wildcards, other scripts and bare IPv4 addresses are understood."""
    assert clean_domain(text) == domain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "a b",
        "a..b",
        ".a",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a.*.b",
        "*a.b",
        "a:80",
        "https://a",
        "a/b",
        "::1",
        "a@b",
    ],
)
def test_other_texts_are_no_domains(text: str) -> None:
    """The refusal repeats what was entered."""
    with pytest.raises(ValidationError, match="is not a domain name"):
        clean_domain(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[::1]", "::1"),
        (" Backend.Internal. ", "backend.internal"),
        ("my_app", "my_app"),
        ("my_app.default.svc", "my_app.default.svc"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_addresses_are_names_or_ip_addresses_without_brackets(text: str, address: str) -> None:
    """Container platforms' underscores are admitted."""
    assert clean_address(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://10.0.0.7", "without scheme or path"),
        ("10.0.0.7/api", "without scheme or path"),
        ("10.0.0.7:9443", "the port has its own field"),
        ("backend:9443", "the port has its own field"),
        ("10.0.0.256", "neither a DNS name nor an IP address"),
        ("fe80::1%eth0", "neither a DNS name nor an IP address"),
        ("*.example.com", "neither a DNS name nor an IP address"),
        ("a b", "neither a DNS name nor an IP address"),
        ("", "neither a DNS name nor an IP address"),
    ],
)
def test_what_is_not_an_address_alone_is_refused_with_a_hint(text: str, message: str) -> None:
    """A pasted URL or an appended port gets its own words."""
    with pytest.raises(ValidationError, match=message):
        clean_address(text)


@pytest.mark.parametrize("clean", [clean_domain, clean_address])
def test_endless_texts_are_refused_with_the_bound(clean: object) -> None:
    """The bound is named before anything looks at the text."""
    with pytest.raises(ValidationError, match="at most 253 characters"):
        clean("ü" * 1_000_000)  # type: ignore[operator]


def test_names_are_printable() -> None:
    """Control characters would break lists and logs."""
    validate_printable("Orders café")
    with pytest.raises(ValidationError):
        validate_printable("a\nb")


def test_hsts_max_age_has_bounds() -> None:
    """Two years at most; zero means none."""
    assert [clean_hsts_max_age(seconds) for seconds in (0, 63_072_000)] == [0, 63_072_000]
    for seconds in (-1, 63_072_001):
        with pytest.raises(ValidationError, match="Between 0 and 63072000 seconds"):
            clean_hsts_max_age(seconds)


def test_numbers_have_bounds_and_nan_is_none_of_them() -> None:
    """Both bounds are admitted; the refusal names them with their unit."""
    check = Between(0.1, 300, "seconds")
    check(0.1)
    check(300)
    for number in (0, 300.5, float("nan"), float("inf")):
        with pytest.raises(ValidationError, match=r"Between 0\.1 and 300 seconds\."):
            check(number)
    with pytest.raises(ValidationError, match=r"Between 1 and 10\."):
        Between(1, 10)(0)


def test_tags_are_words() -> None:
    """Lower case, sorted, each once; every other is named."""
    assert clean_tags(["Prod", " team:payments", "prod", "a/b=c"]) == ["a/b=c", "prod", "team:payments"]
    with pytest.raises(ValidationError) as caught:
        clean_tags(["", "a b", "-a", 'x"', "y" * 41, *(f"t{number}" for number in range(21))])
    assert [error.code for error in caught.value.error_list] == [*["invalid"] * 4, "max_length", "max_length"]
