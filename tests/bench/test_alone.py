"""The scenarios of Aegis alone, with few hosts and few WebSockets: that they measure, not how much."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import hosts, idle_websockets
from tests.bench.load import LoadFailed, put_load
from tests.bench.scenarios import SCENARIOS, Scenario
from tests.bench.upstream import BenchUpstream, Material
from tests.proxyworker.worker import Worker
from tests.support.peers import program

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Of one run."""
    return Material(tmp_path_factory.mktemp("bench") / "material")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Iterator[BenchUpstream]:
    """nginx with the echo server behind it."""
    program("nginx")
    with BenchUpstream(tmp_path_factory.mktemp("bench") / "upstream", material) as running:
        yield running


@pytest.fixture
def worker(tmp_path: Path, material: Material, upstream: BenchUpstream) -> Iterator[Worker]:
    """With one host."""
    one = hosts.fleet(1, material, upstream.port, own_identities=True)
    with Worker(tmp_path, *one.hosts, keys=one.keys) as running:
        yield running


def test_hosts_change_without_a_failure(
    tmp_path: Path, material: Material, upstream: BenchUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every change becomes live; the loaded host answers all the time; CPU is told for both sizes."""
    monkeypatch.setattr(hosts, "FEW", 5)
    result = hosts.measure(tmp_path, material, upstream.port, count=50, changes=2)
    for size in ("few", "many"):
        assert result[size]["failed"] == ""
        assert result[size]["requests_meanwhile"] > 0
        assert 0 < result[size]["live_ms_median"] <= result[size]["live_ms_max"]
        assert result[size]["reactor_us"] > 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_idle_websockets_are_open_and_carry_messages(worker: Worker, scheme: str) -> None:
    """Each has answered when its memory is told, and answers once more after that."""
    result = idle_websockets.measure(worker, scheme, count=3)
    assert result["websockets"] == 3
    assert result["opened_per_s"] > 0


def test_echo_scenario_counts_messages(tmp_path: Path, worker: Worker) -> None:
    """Through the proxy; an answer without 101 is a failure."""
    echo = next(scenario for scenario in SCENARIOS if scenario.is_websocket)
    load = put_load(worker.http, echo, seconds=0.3, connections=2, directory=tmp_path)
    assert load.requests > 2
    refused = Scenario(name="no", path="/1k", response_bytes=1, is_websocket=True)
    with pytest.raises(LoadFailed):
        put_load(worker.http, refused, seconds=0.3, connections=2, directory=tmp_path)
