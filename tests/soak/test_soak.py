"""A minute of everything at once: load, changes, restarts and rotations, and every answer is checked."""

import asyncio
import dataclasses
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxyworker.snapshot import Deadlines, HostEntry, UpstreamTLS
from proxyworker.snapshot import Upstream as UpstreamEntry
from tests.proxyworker.worker import Worker
from tests.soak.client import put_load
from tests.support.certificates import Authority
from tests.support.nginx import Nginx, seen

pytestmark = [pytest.mark.soak, pytest.mark.e2e]

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
CLIENTS = 16
DOMAINS = [f"h{number}.test" for number in range(8)]

CHANGE_EVERY_S, RESTART_EVERY_S, ROTATE_EVERY_S = 0.2, 5.0, 10.0
DOWN_S = 0.5
WARM_UP_S = 2.0  # at full speed: the maximal load

# How long an identity may still be seen after the worker was told of the next one: the poll of the feed, the build, and
# requests that were under way.
GRACE_S = 2.0


class Site:
    """The hosts as they are meant to be: two upstreams for each, and an identity that nobody else may show."""

    def __init__(self, ports: Sequence[int], ca_pem: str, clients: Authority) -> None:
        self._ports = ports
        self._ca_pem = ca_pem
        self._clients = clients
        self._turn = itertools.count()
        self._identities: dict[str, list[tuple[str, float]]] = {domain: [] for domain in DOMAINS}
        self._hosts: dict[str, HostEntry] = {}
        self.keys: dict[str, str] = {}
        for domain in DOMAINS:
            self.rotate(domain)

    def hosts(self) -> list[HostEntry]:
        """All, as they are now."""
        return list(self._hosts.values())

    def rotate(self, domain: str) -> HostEntry:
        """The host gets a new client certificate."""
        name = f"{domain}#{len(self._identities[domain])}"
        leaf = self._clients.client(name)
        self.keys[domain] = leaf.key_pem
        host = HostEntry(
            host_id=domain,
            name=domain,
            domains=(domain,),
            preserve_host=True,
            upstreams=tuple(
                UpstreamEntry(upstream_id=f"u{port}", scheme="https", address="127.0.0.1", port=port)
                for port in self._ports
            ),
            upstream_tls=UpstreamTLS(
                client_certificate=leaf.chain_pem, ca_certificate=self._ca_pem, server_name="up.test"
            ),
        )
        self._identities[domain].append((name, time.monotonic()))
        self._hosts[domain] = host
        return host

    def change(self, domain: str) -> HostEntry:
        """The host gets other deadlines, which means other pools, its upstreams in another order, another domain."""
        number = next(self._turn)
        host = self._hosts[domain]
        self._hosts[domain] = dataclasses.replace(
            host,
            domains=(domain, f"more{number}.test"),
            upstreams=host.upstreams[::-1],
            deadlines=Deadlines(idle_s=30.0 + number % 20),
        )
        return self._hosts[domain]

    def problem_of(self, domain: str, body: bytes, sent_s: float) -> str:
        """What is wrong with an answer; empty: nothing."""
        try:
            found = seen(body)
        except json.JSONDecodeError:
            return f"{domain}: no answer of an upstream: {body[:200]!r}"
        known = self._identities[domain]
        # Valid until its successor came and GRACE_S; of the last one there is no successor.
        ends_s = [since_s + GRACE_S for _, since_s in known[1:]] + [float("inf")]
        valid = {f"CN={name}" for (name, _), end_s in zip(known, ends_s, strict=True) if sent_s < end_s}
        wanted = found["host"] == domain and found["sni"] == "up.test" and found["verify"] == "SUCCESS"
        return (
            "" if wanted and found["subject"].replace("\\", "") in valid else f"{domain}: {found}, not one of {valid}"
        )


class Every(threading.Thread):
    """Does something at every interval until it is stopped; the last exception is kept."""

    def __init__(self, interval_s: float, action: Callable[[], None]) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._action = action
        self._is_over = threading.Event()
        self.count = 0
        self.error: Exception | None = None

    def run(self) -> None:
        while not self._is_over.wait(self._interval_s):
            try:
                self._action()
            except Exception as error:  # noqa: BLE001 (told by the test)
                self.error = error
            self.count += 1

    def stop(self) -> None:
        """After what it does now."""
        self._is_over.set()
        self.join()


@pytest.mark.timeout(SECONDS + 120)
def test_everything_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At half the maximal load every answer is right and no idempotent request fails, as one upstream is always up."""
    servers = Authority("Soak CA")
    server = servers.server("up.test")
    with ExitStack() as stack:
        clients = Authority("Soak client CA")
        nginxes = {name: Nginx(tmp_path / name, server=server, client_ca_pem=clients.pem) for name in ("a", "b")}
        site = Site([nginx.port for nginx in nginxes.values()], servers.pem, clients)
        for nginx in nginxes.values():
            stack.enter_context(nginx)
        worker = stack.enter_context(Worker(tmp_path, *site.hosts(), keys=site.keys, poll_s=0.05))
        run = dict(port=worker.http, domains=DOMAINS, expect=site.problem_of, clients=CLIENTS)
        warm = asyncio.run(put_load(**run, seconds=WARM_UP_S))  # type: ignore[arg-type]
        assert not warm.wrong + warm.failures
        rate = warm.right / WARM_UP_S / 2

        lock = threading.Lock()  # one generation after the other
        turns = itertools.cycle(DOMAINS)
        rotations = itertools.cycle(DOMAINS[::3])
        downs = itertools.cycle(nginxes.items())

        def change() -> None:
            with lock:
                worker.change(site.change(next(turns)))

        def rotate() -> None:
            with lock:
                host = site.rotate(next(rotations))
                worker.set_key(host.host_id, site.keys[host.host_id])
                worker.change(host)

        def restart() -> None:
            name, nginx = next(downs)
            nginx.__exit__(None, None, None)
            (tmp_path / name / "nginx.pid").unlink(missing_ok=True)  # a master that ends in order removes it
            threading.Event().wait(DOWN_S)
            nginx.__enter__()

        doing = [Every(CHANGE_EVERY_S, change), Every(ROTATE_EVERY_S, rotate), Every(RESTART_EVERY_S, restart)]
        before = worker.rss_bytes
        for each in doing:
            each.start()
        try:
            tally = asyncio.run(put_load(**run, seconds=SECONDS, rate=rate))  # type: ignore[arg-type]
        finally:
            for each in doing:
                each.stop()
        with capsys.disabled():
            print(  # noqa: T201 (the summary is what `make soak` is for)
                f"\nsoak: {SECONDS:.0f} s at {rate:.0f} requests/s: {tally.right} right, {len(tally.wrong)} wrong, "
                f"{len(tally.failures)} failed, {dict(tally.refused)} of POSTs refused; "
                f"slowest {tally.slowest_s:.2f} s; "
                f"{doing[0].count} changes, {doing[1].count} rotations, {doing[2].count} restarts; "
                f"RSS {before / 2**20:.0f} -> {worker.rss_bytes / 2**20:.0f} MiB"
            )
        assert [each.error for each in doing] == [None] * 3
        assert not tally.wrong, tally.wrong[:5]
        told = [line for line in worker.log.splitlines() if "upstream failed" in line]
        assert not tally.failures, "\n".join([*tally.failures[:10], *told[-20:]])
        assert "Traceback" not in worker.log
