"""The own load generator, which stands in where wrk is not installed."""

from pathlib import Path

import pytest

from tests.bench import load
from tests.bench.load import LoadFailed, put_load
from tests.bench.scenarios import Scenario
from tests.proxyworker.worker import Upstream

pytestmark = pytest.mark.e2e

SCENARIO = Scenario(name="small", path="/", response_bytes=len("upstream"))


@pytest.fixture(autouse=True)
def no_wrk(monkeypatch: pytest.MonkeyPatch) -> None:
    """wrk is not installed."""
    monkeypatch.setattr(load.shutil, "which", lambda name: None)


def test_own_generator_counts_right_answers(tmp_path: Path) -> None:
    """Every answer of the right length counts, and the latencies are in order."""
    with Upstream() as upstream:
        result = put_load(upstream.port, SCENARIO, seconds=0.3, connections=2, directory=tmp_path)
    assert result.requests > 2
    assert result.errors == 0
    assert 0 < result.p50_ms <= result.p99_ms


def test_answers_cut_short_are_a_failure(tmp_path: Path) -> None:
    """An upstream that answers less than the scenario expects gives no measurement."""
    longer = Scenario(name="longer", path="/", response_bytes=1000)
    with Upstream() as upstream, pytest.raises(LoadFailed):
        put_load(upstream.port, longer, seconds=0.3, connections=2, directory=tmp_path)
