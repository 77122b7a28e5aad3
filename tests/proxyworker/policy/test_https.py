"""What a host that wants HTTPS tells its clients."""

import pytest

from proxyworker.policy.https import hsts_line, https_location


def test_hsts_line() -> None:
    """Zero is no line: a max-age of 0 would make clients forget."""
    assert hsts_line(600) == b"Strict-Transport-Security: max-age=600"
    assert hsts_line(0) == b""


@pytest.mark.parametrize(
    ("authority", "target", "port", "location"),
    [
        (b"app.test", b"/", 443, b"https://app.test/"),
        (b"App.test:80", b"/a?b=//c", 443, b"https://app.test/a?b=//c"),
        (b"app.test.", b"//evil.test/", 8443, b"https://app.test:8443//evil.test/"),
        (b"192.0.2.1:8080", b"/", 8443, b"https://192.0.2.1:8443/"),
        (b"app.test", b"*", 8443, b"https://app.test:8443"),
    ],
)
def test_location(authority: bytes, target: bytes, port: int, location: bytes) -> None:
    """The same name and target; the usual port is left out."""
    assert https_location(authority, target, port) == b"Location: " + location
