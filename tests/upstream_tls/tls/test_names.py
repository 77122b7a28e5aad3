"""Whether a certificate is for a name."""

import datetime

import pytest
from cryptography import x509

from upstream_tls.tls.names import CertificateNames, check_name, is_ip_address, is_uri
from upstream_tls.zoo.pki import PKI, Wrong

PKI_OF_TESTS = PKI(b"tests of names", datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC))


def certificate_for(*names: str) -> x509.Certificate:
    return PKI_OF_TESTS.server(wrong=Wrong(names=names)).certificate


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (("a.test",), "a.test"),
        (("a.test",), "A.Test"),
        (("x.test", "a.test"), "a.test"),
        (("*.zone.test",), "a.zone.test"),
        (("10.0.0.7",), "10.0.0.7"),
        (("2001:db8::1",), "2001:0db8:0::1"),
        (("spiffe://td/ns/a",), "spiffe://td/ns/a"),
        (("a.test", "spiffe://td:8443/x"), "a.test"),
    ],
)
def test_right_name_passes(names: tuple[str, ...], name: str) -> None:
    """DNS names without regard to case, wildcards in the first label, addresses by value, URIs exactly."""
    check_name(certificate_for(*names), name)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ((), "zoo.internal"),  # the common name says so, and does not count
        (("a.test",), "b.test"),
        (("*.zone.test",), "zone.test"),
        (("*.zone.test",), "a.b.zone.test"),
        (("*.test",), "a.test"),
        (("a*.zone.test",), "ab.zone.test"),
        (("a.test", "*"), "a.test"),  # one that no rule allows spoils the certificate
        (("10.0.0.7",), "10.0.0.8"),
        (("a.test",), "10.0.0.7"),
        (("10.0.0.7",), "a.test"),
        (("spiffe://td/ns/a",), "spiffe://td/ns/b"),
        (("spiffe://td/ns/a",), "spiffe://TD/ns/a"),
        (("spiffe://td/ns/a",), "td"),
        (("td",), "spiffe://td/ns/a"),
    ],
)
def test_wrong_name_raises(names: tuple[str, ...], name: str) -> None:
    """Of whatever kind the certificate's names are."""
    with pytest.raises(Exception):  # noqa: B017, PT011 (several types; the caller takes any as a refusal)
        check_name(certificate_for(*names), name)


def test_kinds_of_names_are_told_apart() -> None:
    """By what they look like."""
    assert is_ip_address("::1")
    assert not is_ip_address("[::1]")
    assert is_uri("spiffe://a/b")
    assert not is_uri("a.test:80")


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("app.test", True),
        ("192.0.2.1", True),
        ("a.wild.test", True),
        ("*.wild.test", True),
        ("wild.test", False),
        (".wild.test", False),
        ("b.a.wild.test", False),
        ("x.app.test", False),
        ("", False),
    ],
)
def test_names_cover_what_clients_accept(name: str, covered: bool) -> None:
    """RFC 9525 section 6.3: a wildcard is one label, the left-most."""
    assert CertificateNames(certificate_for("APP.test", "*.wild.test", "192.0.2.1")).cover(name) is covered


def test_a_certificate_without_names_covers_nothing() -> None:
    """A common name is none (RFC 9525 section 2)."""
    assert not CertificateNames(certificate_for()).cover("app.test")
