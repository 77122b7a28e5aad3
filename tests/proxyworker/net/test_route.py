"""What a request needs to know of its host."""

import dataclasses

import pytest

from proxyworker.net.route import HostRoute
from proxyworker.policy.balancing import RoundRobin


def test_a_route_does_not_change() -> None:
    """Requests under way rely on what they captured."""
    route = HostRoute(host_id="h", name="n", preserve_host=False, balancer=RoundRobin([]))
    assert route.rejected == ""
    with pytest.raises(dataclasses.FrozenInstanceError):
        route.rejected = "x"  # type: ignore[misc]
