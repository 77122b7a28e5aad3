"""client_address: the peer, or what trusted proxies say about it."""

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from aegis_site.kernel.client_address import client_address


def address(peer: str, forwarded: str | None = None) -> str | None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))


@pytest.mark.parametrize("forwarded", [None, "1.2.3.4", "10.0.0.1, 1.2.3.4"])
def test_without_trusted_proxies_it_is_the_peer(forwarded: str | None) -> None:
    """Whatever the client claims."""
    assert address("192.0.2.9", forwarded) == "192.0.2.9"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.9", "1.2.3.4", "192.0.2.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.9", "192.0.2.9"),
        ("10.0.0.1", "1.2.3.4, 192.0.2.9", "192.0.2.9"),
        ("10.0.0.1", "1.2.3.4,192.0.2.9 , 10.0.0.2", "192.0.2.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, nonsense, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", None, "fe80::1"),
    ],
)
def test_trusted_proxies(settings: Settings, peer: str, forwarded: str | None, expected: str) -> None:
    """From the end of the field, the first that no trusted proxy has; what stands before that, anybody may write."""
    settings.AEGIS_WEB_TRUSTED_PROXIES = ("10.0.0.0/8",)
    assert address(peer, forwarded) == expected


@pytest.mark.parametrize("peer", ["", "somewhere"])
def test_a_server_that_knows_no_address(peer: str) -> None:
    """As on a unix socket: none, and no claim makes one."""
    assert address(peer, "1.2.3.4") is None
