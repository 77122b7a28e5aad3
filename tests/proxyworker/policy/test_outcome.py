"""What the client is told when an upstream fails."""

import pytest

from proxyworker.errors import Phase, UpstreamError
from proxyworker.policy.outcome import HOST_REJECTED, NO_SUCH_HOST, NO_UPSTREAM, status_for
from proxyworker.protocol.response import REASONS


@pytest.mark.parametrize("phase", Phase)
def test_only_a_deadline_gives_504(phase: Phase) -> None:
    """504 when time ran out, else 502, in every phase."""
    assert status_for(UpstreamError(phase=phase, code="x", reason="y", timed_out=True)) == 504
    assert status_for(UpstreamError(phase=phase, code="x", reason="y")) == 502


def test_every_status_has_an_answer() -> None:
    """No outcome without a reason phrase."""
    assert {NO_SUCH_HOST, HOST_REJECTED, NO_UPSTREAM, 502, 504} <= set(REASONS)
