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


INDEX: RoutingIndex[str] = RoutingIndex({}, {}).replacing(
    [], {"app.test": "exact", "*.app.test": "wild", "*.b.app.test": "closer", "*.test": "far"}
)


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
def test_exact_first_then_the_closest_wildcard(authority: bytes, host: str | None) -> None:
    """A wildcard stands for one label or more and never for its own domain."""
    assert INDEX.find(authority) == host


def test_replacing_leaves_the_old_index_alone() -> None:
    """Requests under way keep what they captured."""
    changed = INDEX.replacing(["app.test", "*.test", "unknown"], {"new.test": "new"})
    assert (changed.find(b"app.test"), changed.find(b"new.test"), changed.find(b"x.test")) == (None, "new", None)
    assert INDEX.find(b"app.test") == "exact"


def test_a_domain_can_move_in_one_step() -> None:
    """Removed and added at once means replaced."""
    assert INDEX.replacing(["app.test"], {"app.test": "other"}).find(b"app.test") == "other"
