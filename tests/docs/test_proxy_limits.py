"""docs/proxy.md has every limit of client connections with its default, and each is reached by a test."""

import dataclasses
import re

import pytest

from aegis_site.environment import BASE_DIR
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.protocol.request import MAX_TARGET_BYTES

PAGE = (BASE_DIR / "docs" / "proxy.md").read_text()
ROWS = [row for row in PAGE.splitlines() if row.startswith("| ")]
LIMITS = dataclasses.asdict(DownstreamLimits())

# What reaches each limit, below tests/proxyworker.
REACHED_BY = {
    "max_head_bytes": "net/test_corpus.py::test_invalid",
    "proxy_header_s": "net/test_doors.py::test_a_header_that_does_not_come",
    "handshake_s": "net/test_downstream_tls.py::test_handshake_deadline",
    "head_s": "test_slow_peers.py::test_slow_loris",
    "keep_alive_s": "net/test_downstream.py::test_idle_keep_alive_connection_is_closed",
    "body_stall_s": "net/test_downstream.py::test_slow_body_is_408",
    "write_stall_s": "test_slow_peers.py::test_client_that_never_reads",
    "half_closed_s": "net/test_downstream_ends.py::test_gone_client_cancels_the_upstream",
    "drain_s": "net/test_downstream.py::test_refused_client_that_stays_is_cut_off",
    "max_drain_bytes": "net/test_exchange.py::test_draining_a_request_has_a_limit",
    "AEGIS_PROXY_MAX_CONNECTIONS": "net/test_doors.py::test_over_the_total_is_503",
    "AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT": "net/test_doors.py::test_over_the_limit_of_a_client_is_429",
}


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_has_its_row_with_its_default(name: str) -> None:
    """As the code has it."""
    [row] = [row for row in ROWS if f"`{name}`" in row]
    shown = re.search(r"\| ([0-9 ]+) (s|bytes) \|", row)
    assert shown is not None
    assert float(shown[1].replace(" ", "")) == LIMITS[name]
    assert name.endswith(f"_{shown[2]}")


def test_the_target_has_its_row() -> None:
    """It is no setting, but has a status of its own."""
    assert f"| request target | {MAX_TARGET_BYTES} bytes | | `414` |" in ROWS


@pytest.mark.parametrize(("name", "test"), REACHED_BY.items())
def test_every_limit_is_reached_by_a_test(name: str, test: str) -> None:
    """Which exists, and the limit is in the page."""
    path, _, function = test.partition("::")
    assert f"def {function}(" in (BASE_DIR / "tests" / "proxyworker" / path).read_text()
    assert f"`{name}`" in PAGE
    assert set(LIMITS) <= set(REACHED_BY)
