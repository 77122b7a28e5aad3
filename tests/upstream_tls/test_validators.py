"""The settings that stand for themselves."""

import base64
import hashlib

import pytest
from django.core.exceptions import ValidationError

from upstream_tls.validators import (
    MAX_PINS,
    MAX_VERIFY_DEPTH,
    check_version_range,
    clean_alpn,
    clean_ciphers,
    clean_pins,
    clean_server_name,
    clean_verify_depth,
    clean_verify_name,
    clean_version,
)

PIN = hashlib.sha256(b"a public key").digest()


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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" ", ""),
        ("Orders.Internal.", "orders.internal"),
        ("10.0.0.7", "10.0.0.7"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("SPIFFE://Example.org/ns/Orders", "spiffe://example.org/ns/Orders"),
        ("spiffe://example.org", "spiffe://example.org"),
    ],
)
def test_verify_names_are_dns_names_addresses_or_spiffe_ids(text: str, name: str) -> None:
    """Each in the one spelling in which it is compared; the path of a SPIFFE ID keeps its case."""
    assert clean_verify_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "*.example.com",
        "a b",
        "https://example.org/orders",
        "spiffe://",
        "spiffe://example.org/",
        "spiffe://example.org//a",
        "spiffe://example.org/../a",
        "spiffe://example.org/a?b",
        "spiffe://user@example.org/a",
        "spiffe://example.org:443/a",
        "spiffe://ex\u00e4mple.org/a",
        "spiffe://example.org/" + "a" * 3000,
        "fe80::1%eth0",
    ],
)
def test_other_verify_names_are_refused(text: str) -> None:
    """Wildcards, other URIs, and SPIFFE IDs that the standard does not allow."""
    with pytest.raises(ValidationError):
        clean_verify_name(text)


def test_versions() -> None:
    """The two that Aegis speaks, the older first."""
    assert clean_version("TLSv1.3") == "TLSv1.3"
    for text in ("", "TLSv1.1", "1.2", "TLSv1.4"):
        with pytest.raises(ValidationError, match=r"Choose one of TLSv1\.2, TLSv1\.3\."):
            clean_version(text)
    for pair in (("TLSv1.2", "TLSv1.2"), ("TLSv1.2", "TLSv1.3"), ("TLSv1.3", "TLSv1.3")):
        check_version_range(*pair)
    with pytest.raises(ValidationError, match=r"The maximum, TLSv1\.2, is below the minimum, TLSv1\.3\."):
        check_version_range("TLSv1.3", "TLSv1.2")


def test_cipher_lists_are_tried() -> None:
    """An empty one means OpenSSL's default and is not tried."""
    assert clean_ciphers(" ") == ""
    assert clean_ciphers(" ECDHE+AESGCM ") == "ECDHE+AESGCM"
    for text in ("nonsense", "aNULL", "A" * 501):
        with pytest.raises(ValidationError):
            clean_ciphers(text)


def test_protocols_are_those_that_aegis_can_keep_to() -> None:
    """Once each, in order; HTTP/2 and 3 would be answered in HTTP/1.1, so they cannot be offered."""
    assert clean_alpn(()) == []
    assert clean_alpn(("http/1.1", " http/1.0", "http/1.1", "istio-http/1.1")) == [
        "http/1.1",
        "http/1.0",
        "istio-http/1.1",
    ]
    for name in ("h2", "h2c", "h3", "h3-29", "spdy/3"):
        with pytest.raises(ValidationError, match=f"{name} cannot be offered: Aegis speaks HTTP/1"):
            clean_alpn((name,))
    for name in ("", "a b", "\u00e4", "x" * 256):
        with pytest.raises(ValidationError, match="is not the name of a protocol"):
            clean_alpn((name,))
    with pytest.raises(ValidationError, match="At most 10"):
        clean_alpn(("x",) * 11)


@pytest.mark.parametrize(
    "text",
    [
        PIN.hex(),
        f" {PIN.hex().upper()} ",
        PIN.hex(":"),
        base64.b64encode(PIN).decode(),
        "sha256/" + base64.b64encode(PIN).decode(),
        "sha256//" + base64.b64encode(PIN).decode(),
        "SHA256/" + PIN.hex(),
    ],
)
def test_pins_are_stored_as_hex(text: str) -> None:
    """As OpenSSL, browsers and curl write them; the same one twice is one."""
    assert clean_pins((text, PIN.hex())) == [PIN.hex()]


def test_what_is_no_pin_is_refused_with_all_the_others() -> None:
    """Wrong length, wrong alphabet, too many."""
    with pytest.raises(ValidationError) as caught:
        clean_pins((PIN.hex()[2:], "", "\u00e4", PIN.hex(), base64.b64encode(PIN[1:]).decode(), "a" * 10_000))
    assert len(caught.value.messages) == 5
    with pytest.raises(ValidationError, match="At most 20"):
        clean_pins((PIN.hex(),) * (MAX_PINS + 1))


def test_the_verify_depth_has_bounds() -> None:
    """None is OpenSSL's own."""
    assert [clean_verify_depth(depth) for depth in (None, 0, MAX_VERIFY_DEPTH)] == [None, 0, MAX_VERIFY_DEPTH]
    for depth in (-1, MAX_VERIFY_DEPTH + 1):
        with pytest.raises(ValidationError, match="between 0 and 10"):
            clean_verify_depth(depth)
