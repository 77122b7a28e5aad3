"""Which host a request is for."""

import pytest

from proxyworker.policy.routing import RoutingIndex, domain_of


@pytest.mark.parametrize(
    ("authority", "domain"),
    [
        (b"App.Test", "app.test"),
        (b"app.test:8080", "app.test"),
        (b"app.test.", "app.test"),
        (b"app.test.:80", "app.test"),
        (b"[2001:DB8::1]:80", "[2001:db8::1]"),
        (b"1.2.3.4:80", "1.2.3.4"),
        (b"", ""),
    ],
)
def test_domain_of(authority: bytes, domain: str) -> None:
    """Lower case, no port, no trailing dot."""
    assert domain_of(authority) == domain


@pytest.fixture
def index() -> RoutingIndex[str]:
    """One name and three wildcards."""
    made: RoutingIndex[str] = RoutingIndex()
    made.put({"app.test": "exact", "*.app.test": "wild", "*.b.app.test": "closer", "*.test": "far"})
    return made


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"app.test", "exact"),
        (b"x.app.test", "wild"),
        (b"x.y.app.test", "wild"),
        (b"x.b.app.test", "closer"),
        (b"b.app.test", "wild"),
        (b"other.test", "far"),
        (b"test", None),
        (b"", None),
        (b"app.test.evil", None),
        (b"*.app.test", "wild"),
    ],
)
def test_exact_first_then_the_closest_wildcard(index: RoutingIndex[str], authority: bytes, host: str | None) -> None:
    """A wildcard stands for one label or more and never for its own domain."""
    assert index.find(authority) == host


def test_domains_are_removed_and_put(index: RoutingIndex[str]) -> None:
    """A name and a wildcard of the same name are two domains; unknown ones do not matter."""
    index.remove(["app.test", "*.test", "unknown", "*.unknown"])
    index.put({"new.test": "new", "*.app.test": "other"})
    found = [index.find(domain) for domain in (b"app.test", b"new.test", b"x.test", b"x.app.test")]
    assert found == [None, "new", None, "other"]
