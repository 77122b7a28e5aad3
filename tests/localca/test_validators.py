"""What names a certificate may carry, and how others are refused."""

import ipaddress
import re
import uuid

import pytest
from cryptography import x509
from django.core.exceptions import ValidationError

from localca.validators import (
    clean_common_name,
    clean_crl_url,
    clean_dns_name,
    clean_note,
    parse_subject_alt_name,
    parse_subject_alt_names,
)


@pytest.mark.parametrize("text", ["orders", " orders ", "Ordres & Cie, été", "x" * 64, "é" * 32, "10.0.0.1"])
def test_common_names(text: str) -> None:
    """Any printable text of up to 64 characters is a common name; white space around it is not part of it."""
    assert clean_common_name(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "required", "Enter a common name."),
        (" \t", "required", "Enter a common name."),
        ("x" * 65, "max_length", "A common name has at most 64 characters, this one has 65."),
        ("é" * 33, "max_length", "A common name has at most 64 bytes in UTF-8, this one has 66."),
        ("a\x00b", "invalid", "A common name holds printable characters only."),
        ("a\nb", "invalid", "A common name holds printable characters only."),
        ("a\u202eb", "invalid", "A common name holds printable characters only."),
        ("a\ud800", "invalid", "A common name holds printable characters only."),
    ],
)
def test_bad_common_names(text: str, code: str, message: str) -> None:
    """Empty, long and unprintable names are refused, the last so that no log or page can be confused."""
    with pytest.raises(ValidationError) as raised:
        clean_common_name(text)
    assert (raised.value.code, raised.value.messages) == (code, [message])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orders", "orders"),
        ("Orders.Example.COM", "orders.example.com"),
        ("*.example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
    ],
)
def test_dns_names(text: str, name: str) -> None:
    """DNS names become lower-case A-labels; a wildcard may stand for the left-most label."""
    assert clean_dns_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "a.*.b",
        "a*.b",
        "*.*.b",
        "-a.b",
        "a-.b",
        "a..b",
        ".a",
        "a.",
        "a_b",
        "a b",
        "8.8.8.8",
        "a.1",
        "x" * 64,
        ".".join(["x" * 62] * 5),
        "a\x00.b",
        "é" * 70 + ".example",
        "☃ .example",
    ],
)
def test_bad_dns_names(text: str) -> None:
    """What peers would not match, or match too widely, is not a DNS name."""
    with pytest.raises(ValidationError, match="is not a DNS name"):
        clean_dns_name(text)


def test_subject_alt_names() -> None:
    """Names are written DNS:… and IP:…; repetitions count once and the order stays."""
    names = parse_subject_alt_names(["DNS:b.example", "ip:::1", "IP: 10.0.0.1", "dns:B.example"])
    assert names == [
        x509.DNSName("b.example"),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
    ]


@pytest.mark.parametrize("text", ["orders.example", "URI:urn:x", "email:a@b", "IP:10.0.0.0/8", "IP:x", "DNS:"])
def test_bad_subject_alt_names(text: str) -> None:
    """Other kinds of names and malformed values are refused."""
    with pytest.raises(ValidationError):
        parse_subject_alt_name(text)


def test_all_bad_subject_alt_names_are_told_at_once() -> None:
    """The error has one message for each bad name."""
    with pytest.raises(ValidationError) as raised:
        parse_subject_alt_names(["DNS:8.8.8.8", "DNS:good.example", "IP:x", "mail"])
    assert raised.value.messages == [
        "'8.8.8.8' is not a DNS name.",
        "'x' is not an IP address.",
        "'mail' is neither DNS:name nor IP:address.",
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [([], "Enter at least one DNS name or IP address."), (["DNS:a"] * 101, "A certificate has at most 100 names.")],
)
def test_number_of_subject_alt_names(texts: list[str], message: str) -> None:
    """There is at least one name, and not hundreds."""
    with pytest.raises(ValidationError) as raised:
        parse_subject_alt_names(texts)
    assert raised.value.messages == [message]


def test_notes() -> None:
    """A note is one printable line, or nothing."""
    assert clean_note(" host orders ") == "host orders"
    assert clean_note("") == ""
    with pytest.raises(ValidationError, match="Printable characters only"):
        clean_note("a\nb")


@pytest.mark.parametrize("uri", ["spiffe://example.org/orders", "urn:uuid:0", "https://[2001:db8::1]/x?y#z"])
def test_uris_of_clients(uri: str) -> None:
    """Absolute URIs are names of clients, white space around them aside; of servers they are not."""
    assert parse_subject_alt_name(f" URI: {uri} ", may_be_uri=True) == x509.UniformResourceIdentifier(uri)
    with pytest.raises(ValidationError, match="neither DNS:name nor IP:address"):
        parse_subject_alt_name(f"URI:{uri}")


@pytest.mark.parametrize(
    "uri", ["", "orders", "//example.org", "a:", "a:b c", "a:ä", "http://[x", "1a:b", "a:" + "x" * 2048]
)
def test_what_is_no_uri(uri: str) -> None:
    """Refused with a text for the operator."""
    with pytest.raises(ValidationError, match=r"is not an absolute URI|at most 2048 characters"):
        parse_subject_alt_name(f"URI:{uri}", may_be_uri=True)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.org",
        "spiffe://Example.org/x",
        "spiffe://example.org/x/",
        "spiffe://example.org/x?y",
        "SPIFFE:x",
    ],
)
def test_what_is_no_spiffe_id(uri: str) -> None:
    """A path is needed, and nothing but names in it."""
    with pytest.raises(ValidationError, match="is no SPIFFE ID, such as"):
        parse_subject_alt_names([f"URI:{uri}"], may_be_uris=True)


def test_a_spiffe_id_stands_beside_no_other_uri() -> None:
    """X509-SVID section 2; DNS names may be there."""
    spiffe_id = "URI:spiffe://example.org/orders"
    assert len(parse_subject_alt_names([spiffe_id, "DNS:orders"], may_be_uris=True)) == 2
    with pytest.raises(ValidationError, match="A SPIFFE ID stands beside no other URI"):
        parse_subject_alt_names([spiffe_id, "URI:urn:x:y"], may_be_uris=True)


ID = uuid.UUID("0f5a1c1e-2b3d-4e5f-8a9b-0c1d2e3f4a5b")


@pytest.mark.parametrize(
    "url", ["", "http://aegis.example.com/crl", "https://10.0.0.7:8443/api/v1/ca/crl?encoding=der"]
)
def test_where_a_list_may_be(url: str) -> None:
    """http or https, without surrounding spaces; or nowhere."""
    assert clean_crl_url(f" {url} ", authority_id=ID) == url


@pytest.mark.parametrize(
    "url",
    [
        "crl",
        "ftp://example.com/crl",
        "http://",
        "http://a@example.com/",
        "http://example.com/#x",
        "http://x:99999/",
        "http://ü.example/",
        "http://example.com/" + "x" * 500,
    ],
)
def test_where_no_list_can_be(url: str) -> None:
    """Refused, in words that name the rule."""
    with pytest.raises(ValidationError, match=r"is not an http or https URL|has at most 500 characters"):
        clean_crl_url(url, authority_id=ID)


def test_the_id_of_a_ca_in_the_place_of_its_list() -> None:
    """`{id}` stands for it, wherever it is, before the length is counted."""
    url = clean_crl_url("http://{id}.example.com/api/v1/ca/authorities/{id}/crl", authority_id=ID)
    assert url == f"http://{ID}.example.com/api/v1/ca/authorities/{ID}/crl"
    with pytest.raises(ValidationError, match="has at most 500 characters"):
        clean_crl_url("http://example.com/{id}" + "x" * 470, authority_id=ID)


@pytest.mark.parametrize(
    ("url", "unknown"),
    [("http://x/{name}/crl", "{name}"), ("http://x/{ID}", "{ID}"), ("http://x/{}", "{}"), ("http://x/{id", "{")],
)
def test_a_placeholder_that_stands_for_nothing(url: str, unknown: str) -> None:
    """It would stand in every certificate as it is."""
    with pytest.raises(ValidationError, match=re.escape(f"'{unknown}' stands for nothing here")) as raised:
        clean_crl_url(url, authority_id=ID)
    assert raised.value.code == "unknown_placeholder"
