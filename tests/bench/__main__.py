"""`python -m tests.bench`: starts upstream and proxies, measures in interleaved rounds; a table, JSON and a plot.

Then Aegis alone: thousands of hosts, thousands of idle WebSockets, thousands of health checks.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import health, hosts, idle_websockets
from tests.bench.load import LoadFailed, put_load
from tests.bench.plot import plot
from tests.bench.proxies import NAMES, NotInstalled, Running, start
from tests.bench.report import Measurement, Row, summarise, table
from tests.bench.scenarios import SCENARIOS, Scenario
from tests.bench.upstream import BenchUpstream, Material
from tests.bench.usage import usage_of
from tests.proxyworker.worker import Worker
from tests.support.polling import eventually

CONNECTIONS = 32
HOSTS, IDLE, HEALTH = "hosts", "idle-websockets", "health"
WARM_UP_S = 1


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    most = idle_websockets.raise_descriptor_limit()
    names = {scenario.name: scenario for scenario in SCENARIOS}
    scenarios = [names[name] for name in options.scenarios if name in names]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-bench-")))
        material = Material(directory / "material")
        upstream = stack.enter_context(BenchUpstream(directory / "upstream", material))
        measurements = _compare(options, scenarios, directory, material, upstream.port) if scenarios else []
        alone: dict[str, Any] = {}
        if HOSTS in options.scenarios:
            alone[HOSTS] = hosts.measure(
                directory, material, upstream.port, count=options.hosts, changes=options.changes
            )
        if IDLE in options.scenarios:
            alone[IDLE] = _idle(directory, material, upstream.port, min(options.websockets, most))
        if HEALTH in options.scenarios:
            alone[HEALTH] = health.measure(
                directory / "health",
                material,
                upstreams=options.checked_upstreams,
                seconds=options.checked_s,
                database_url=options.database,
            )
            _say("\n" + health.table(alone[HEALTH]))
    rows = summarise(measurements)
    if rows:
        _say("\n" + table(rows))
    if alone:
        _say("\nAegis alone:\n" + json.dumps(alone, indent=1))
    document = {
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "load_before": options.load_before},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": CONNECTIONS,
        "rows": rows,
        "alone": alone,
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    _write(options.output, document, rows)
    return 0


def _compare(
    options: argparse.Namespace, scenarios: list[Scenario], directory: Path, material: Material, upstream_port: int
) -> list[Measurement]:
    with ExitStack() as stack:
        running = []
        for name in options.proxies:
            try:
                proxy = start(name, directory / name, material, upstream_port)
            except NotInstalled as reason:
                _say(f"{name}: left out, {reason}")
                continue
            stack.callback(proxy.stop)
            running.append(proxy)
        for proxy in running:
            _warm_up(proxy, scenarios, directory)
        return [
            measurement
            for scenario in scenarios
            for number in range(options.rounds)
            for measurement in _round(running, scenario, number, options.seconds, directory)
        ]


def _idle(directory: Path, material: Material, upstream_port: int, count: int) -> dict[str, Any]:
    one = hosts.fleet(1, material, upstream_port, own_identities=False)
    result = {}
    for scheme in ("http", "https"):
        place = directory / f"idle-{scheme}"
        place.mkdir()
        with Worker(place, *one.hosts, keys=one.keys, poll_s=5.0) as worker:
            result[scheme] = idle_websockets.measure(worker, scheme, count=count)
    return result


def _write(directory: Path, document: dict[str, Any], rows: list[Row]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "bench.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    _say(f"\nwritten to {path}")
    if rows:
        plot(rows, path.with_suffix(".png"))
        _say(f"drawn in {path.with_suffix('.png')}")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a second each; for a look, not for figures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--proxies", nargs="+", choices=NAMES, default=NAMES)
    every = [*(scenario.name for scenario in SCENARIOS), HOSTS, IDLE, HEALTH]
    parser.add_argument("--scenarios", nargs="+", choices=every, default=every)
    parser.add_argument("--hosts", type=int, default=10_000, help=f"how many of {HOSTS}")
    parser.add_argument("--changes", type=int, default=40, help="of one host, with as many others created and deleted")
    parser.add_argument("--websockets", type=int, default=5_000, help=f"how many of {IDLE}, of each kind")
    parser.add_argument("--checked-upstreams", type=int, default=2_000, help=f"how many of {HEALTH}")
    parser.add_argument("--checked-s", type=int, default=60, help=f"of each of the two measurements of {HEALTH}")
    parser.add_argument("--database", default="", help=f"an empty one for {HEALTH}, postgres://...; SQLite without")
    parser.add_argument("--output", type=Path, default=Path("var/bench"))
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 1
        options.hosts, options.changes, options.websockets = 1_000, 8, 200
        options.checked_upstreams, options.checked_s = 200, health.INTERVAL_S
    options.load_before = os.getloadavg()[0]
    return options


def _warm_up(proxy: Running, scenarios: list[Scenario], directory: Path) -> None:
    """Waits until the proxy answers rightly, and fills its pools."""

    def answers() -> bool:
        assert proxy.process.poll() is None, f"{proxy.name} ended: see {directory / proxy.name}"
        try:
            put_load(_port(proxy, scenarios[0]), scenarios[0], seconds=WARM_UP_S, connections=1, directory=directory)
        except LoadFailed:
            return False
        return True

    eventually(answers, within_s=15)
    for scenario in {each.scheme: each for each in scenarios}.values():
        put_load(_port(proxy, scenario), scenario, seconds=WARM_UP_S, connections=CONNECTIONS, directory=directory)


def _round(running: list[Running], scenario: Scenario, number: int, seconds: int, directory: Path) -> list[Measurement]:
    """Every proxy once, one after the other; the order turns from round to round."""
    turn = number % len(running)
    return [_measure(proxy, scenario, number, seconds, directory) for proxy in running[turn:] + running[:turn]]


def _measure(proxy: Running, scenario: Scenario, number: int, seconds: int, directory: Path) -> Measurement:
    before, started_s = usage_of(proxy.process.pid), time.monotonic()
    load = put_load(_port(proxy, scenario), scenario, seconds=seconds, connections=CONNECTIONS, directory=directory)
    used = usage_of(proxy.process.pid).since(before)
    _say(f"{scenario.name:<12}{proxy.name:<9}{load.requests:>8} requests in {time.monotonic() - started_s:.1f} s")
    return Measurement(
        scenario=scenario.name,
        proxy=proxy.name,
        round=number,
        requests=load.requests,
        requests_per_s=load.requests / load.duration_s,
        cpu_us=(used.user_s + used.system_s) / load.requests * 1e6,
        user_us=used.user_s / load.requests * 1e6,
        system_us=used.system_s / load.requests * 1e6,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        rss_mib=used.rss_bytes / 2**20,
    )


def _port(proxy: Running, scenario: Scenario) -> int:
    return proxy.https if scenario.scheme == "https" else proxy.http


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
