"""What a request needs to know of its host."""

import dataclasses

import pytest

from proxyworker.net.route import HostRoute
from proxyworker.policy.balancing import Single


def test_a_route_does_not_change() -> None:
    """Requests under way rely on what they captured."""
    route = HostRoute(host_id="h", name="n", preserve_host=False, balancer=Single(None))
    assert route.rejected == ""
    assert route.own_lines(is_https=True) == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        route.rejected = "x"  # type: ignore[misc]


def test_lines_of_the_workers_own_answers() -> None:
    """What the rules add, and HSTS by HTTPS only."""
    route = HostRoute(
        host_id="h",
        name="n",
        preserve_host=False,
        balancer=Single(None),
        hsts=b"Strict-Transport-Security: max-age=1",
        own_fields=(b"A: 1",),
    )
    assert route.own_lines(is_https=True) == (b"A: 1", b"Strict-Transport-Security: max-age=1")
    assert route.own_lines(is_https=False) == (b"A: 1",)
