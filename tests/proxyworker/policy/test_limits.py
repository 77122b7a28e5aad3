"""Limits of client connections."""

import dataclasses

from proxyworker.policy.limits import DownstreamLimits


def test_every_limit_is_finite_and_positive() -> None:
    """Every buffer has a limit and every wait a deadline."""
    for value in dataclasses.asdict(DownstreamLimits()).values():
        assert 0 < value < float("inf")


def test_a_head_of_the_longest_target_fits() -> None:
    """The target's own limit (414) is met before the head's (431)."""
    from proxyworker.protocol.request import MAX_TARGET_BYTES

    assert DownstreamLimits().max_head_bytes > 2 * MAX_TARGET_BYTES
