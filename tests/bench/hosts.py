"""Aegis alone with thousands of hosts: what each takes, and what a change of one costs.

Laws of this module: a real worker reads entries from a file and looks for new ones every POLL_S, which is part of every
time that is told; the load goes to the very host that changes, through all of its changes.
"""

import http.client
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from proxyworker.build import build
from proxyworker.net.deadlines import Sweep
from proxyworker.runtime import Configuration
from proxyworker.snapshot import Deadlines, HostEntry, LoadedEntry, UpstreamTLS, encode_entry
from proxyworker.snapshot import Upstream as UpstreamEntry
from tests.bench.load import LoadFailed, put_load
from tests.bench.scenarios import DOMAIN, SCENARIOS
from tests.bench.upstream import SERVER_NAME, Material
from tests.bench.usage import usage_of
from tests.proxyworker.worker import Worker
from tests.support.certificates import Authority, Leaf
from tests.support.polling import eventually

POLL_S = 0.02
FEW = 100
READY_WITHIN_S = 120
LOAD_CONNECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Hosts with one https upstream each. The first one is the one that load goes to."""

    hosts: tuple[HostEntry, ...]
    keys: dict[str, str]


def fleet(count: int, material: Material, upstream_port: int, *, own_identities: bool) -> Fleet:
    """`own_identities`: each host has a client certificate of its own, otherwise they share one."""
    authority = Authority("Fleet client CA")
    hosts, keys = [], {}
    for number in range(count):
        leaf: Leaf = authority.client(f"host {number}") if own_identities and number else material.client
        host_id = f"00000000-0000-0000-0000-{number:012d}"
        keys[host_id] = leaf.key_pem
        hosts.append(
            HostEntry(
                host_id=host_id,
                name=f"host {number}",
                domains=(f"h{number}.test" if number else DOMAIN,),
                upstreams=(
                    UpstreamEntry(
                        upstream_id=f"00000000-0000-0000-0001-{number:012d}",
                        scheme="https",
                        address="127.0.0.1" if not number else f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
                        port=upstream_port,
                    ),
                ),
                upstream_tls=UpstreamTLS(
                    client_certificate=leaf.chain_pem, ca_certificate=material.ca_pem, server_name=SERVER_NAME
                ),
            )
        )
    return Fleet(hosts=tuple(hosts), keys=keys)


def measure(directory: Path, material: Material, upstream_port: int, *, count: int, changes: int) -> dict[str, Any]:
    """All figures, for FEW hosts and for `count`."""
    few, many = (fleet(number, material, upstream_port, own_identities=False) for number in (FEW, count))
    result: dict[str, Any] = {"hosts": count, "changes": changes}
    rss = {}
    for name, each in (("few", few), ("many", many)):
        with _worker(directory, f"shared-{name}", each) as (worker, ready_s):
            rss[name] = usage_of(worker.process.pid).rss_bytes
            result[name] = {
                "ready_s": ready_s,
                "rss_mib": rss[name] / 2**20,
                **_changes_under_load(worker, each.hosts[0], directory, changes),
                **_cost_of_a_change(each, changes),
            }
    result["rss_per_host_bytes"] = (rss["many"] - rss["few"]) / (count - FEW)
    own = {}
    for number in (FEW, FEW + count // 10):
        made = fleet(number, material, upstream_port, own_identities=True)
        with _worker(directory, f"own-{number}", made) as (worker, _):
            own[number] = usage_of(worker.process.pid).rss_bytes
    result["rss_per_host_with_own_identity_bytes"] = (own[FEW + count // 10] - own[FEW]) / (count // 10)
    return result


@contextmanager
def _worker(directory: Path, name: str, hosts: Fleet) -> Any:
    place = directory / name
    place.mkdir()
    worker = Worker(place, *hosts.hosts, keys=hosts.keys, poll_s=POLL_S)
    started_s = time.monotonic()
    worker.start()
    try:
        eventually(worker.is_ready, within_s=READY_WITHIN_S)
        yield worker, time.monotonic() - started_s
    finally:
        worker.kill()


def _changes_under_load(worker: Worker, host: HostEntry, directory: Path, changes: int) -> dict[str, Any]:
    """How long changes of the loaded host take to be live, while a generator keeps the worker busy."""
    get = next(scenario for scenario in SCENARIOS if scenario.name == "get-1k")
    seconds = max(2, changes // 4)
    with ThreadPoolExecutor(max_workers=1) as pool:
        load = pool.submit(
            put_load, worker.http, get, seconds=seconds, connections=LOAD_CONNECTIONS, directory=directory
        )
        live_s = [each(worker, host, number) for number in range(changes) for each in (_changed, _created, _deleted)]
        was_loaded = not load.done()
        try:
            requests, failed = load.result().requests, ""
        except LoadFailed as error:
            requests, failed = 0, str(error)
    ordered = sorted(live_s)
    return {
        "live_ms_median": median(ordered) * 1e3,
        "live_ms_max": ordered[-1] * 1e3,
        "requests_meanwhile": requests,
        "failed": failed,
        "load_outlasted_changes": was_loaded,
    }


def _changed(worker: Worker, host: HostEntry, number: int) -> float:
    """Other deadlines, which means another pool, and another second domain: a rename of it."""
    name = f"changed{number}.test"
    changed = replace(host, domains=(*host.domains, name), deadlines=Deadlines(idle_s=30.0 + number % 25))
    return _live_after(worker, lambda: worker.change(changed), name, 200)


def _created(worker: Worker, host: HostEntry, number: int) -> float:
    name = f"new{number}.test"
    worker.set_key(name, worker.key_of(host.host_id))
    return _live_after(worker, lambda: worker.change(replace(host, host_id=name, domains=(name,))), name, 200)


def _deleted(worker: Worker, host: HostEntry, number: int) -> float:
    name = f"new{number}.test"
    return _live_after(worker, lambda: worker.forget(name), name, 404)


def _live_after(worker: Worker, change: Callable[[], None], domain: str, status: int) -> float:
    """Seconds from the change to the first answer of that status on a kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", worker.http, timeout=10)
    started_s = time.monotonic()
    change()
    try:
        while True:
            connection.request("GET", "/1k", headers={"Host": domain})
            answer = connection.getresponse()
            answer.read()
            if answer.status == status:
                return time.monotonic() - started_s
            assert time.monotonic() < started_s + 10, f"{domain}: still {answer.status}"
            time.sleep(0.002)
    finally:
        connection.close()


def _cost_of_a_change(hosts: Fleet, changes: int) -> dict[str, float]:
    """CPU of one change: off the reactor thread to build it, on it to install it and to count for the report."""
    configuration = Configuration(loop=None, sweep=Sweep(time.monotonic))  # type: ignore[arg-type]
    configuration.install([build(_loaded(host, hosts, 1)) for host in hosts.hosts])
    build_s: list[float] = []
    install_s: list[float] = []
    for number in range(max(changes, 20)):
        host = replace(hosts.hosts[0], deadlines=Deadlines(idle_s=30.0 + number % 25))
        loaded = _loaded(host, hosts, number + 2)
        begun_s = time.thread_time()
        built = build(loaded)
        built_s = time.thread_time()
        configuration.install([built])
        _ = configuration.accepted_count, configuration.rejected
        build_s.append(built_s - begun_s)
        install_s.append(time.thread_time() - built_s)
    return {"build_us": _best(build_s), "reactor_us": _best(install_s), "reactor_us_max": max(install_s) * 1e6}


def _best(durations_s: Sequence[float]) -> float:
    return min(durations_s) * 1e6


def _loaded(host: HostEntry, hosts: Fleet, generation: int) -> LoadedEntry:
    key = hosts.keys[host.host_id].encode()
    return LoadedEntry(
        host_id=host.host_id,
        generation=generation,
        digest="",
        entry_json=encode_entry(host),
        open_client_key=lambda: key,
    )
