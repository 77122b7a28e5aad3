"""Several proxy workers on the same ports: traffic and changes on both, one that dies, one that ends, all that end."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aegis_site.environment import BASE_DIR
from proxyworker.compiled import build_directory
from tests.e2e.conftest import HostDocument
from tests.support.admin import AdminSession
from tests.support.certificates import Authority
from tests.support.instance import ADMIN_PASSWORD, Instance, request
from tests.support.nginx import seen
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.processes import Process

pytestmark = pytest.mark.e2e

CLIENTS = 4
LIVE_WITHIN_S = 1.0
# Two seconds on an idle machine, of which a worker's start takes one.
REPLACED_WITHIN_S = 6.0
DRAIN_DELAY_S = 2


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A whole Aegis with two proxy workers."""
    # Who is killed leaves its temporary directory behind.
    variables = {"AEGIS_PROXY_PROCESSES": "2", "TMPDIR": str(tmp_path_factory.mktemp("sockets"))}
    with Instance(tmp_path_factory.mktemp("pair"), environment=variables) as running:
        yield running


@pytest.fixture
def domain(pair: Instance, host_document: HostDocument, client_ca: Authority) -> str:
    """Of a host that answers 200, on both workers."""
    created: dict[str, Any] = pair.create_host(**host_document(client_ca.client("steady")))
    name: str = created["domains"][0]
    eventually(lambda: all(status(pair, name) == 200 for _ in range(20)), within_s=LIVE_WITHIN_S * 5)
    return name


def status(aegis: Instance, domain: str) -> int:
    """Of a request on a connection of its own, 0 when there was no answer."""
    try:
        return aegis.proxy(domain).status
    except OSError:
        return 0


def workers(aegis: Instance) -> dict[str, Process]:
    """The processes by the number of their worker; of two runs of one, the newer."""
    found = {}
    for process in sorted(aegis.processes(), key=lambda process: process.pid):
        if number := re.search(r"runproxy --worker (\d+)", process.command):
            found[number[1]] = process
    return found


def is_replaced(aegis: Instance, number: str, pid: int) -> bool:
    """Whether this worker is another process than `pid` now; between the two there may be none for a moment."""
    process = workers(aegis).get(number)
    return process is not None and process.pid != pid


def is_ready(port: int) -> bool:
    try:
        return request(port, "/readyz").status == 200
    except OSError:
        return False


def metric(document: bytes, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a name by their label values."""
    families = text_string_to_metric_families(document.decode())
    return {
        tuple(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


@contextlib.contextmanager
def load(port: int, domain: str) -> Iterator[list[str]]:
    """CLIENTS ask without a pause, each time on a new connection and never twice. The list gets what went wrong."""
    failures: list[str] = []
    is_over = threading.Event()
    answered = [0] * CLIENTS

    def ask(client: int) -> None:
        while not is_over.is_set():
            try:
                answer = request(port, "/", headers={"Host": domain})
            except OSError as error:
                failures.append(repr(error))
            else:
                answered[client] += 1
                if answer.status != 200:
                    failures.append(str(answer.status))

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: all(answered), within_s=10)
        yield failures
        before = list(answered)
        eventually(lambda: all(now > then for now, then in zip(answered, before, strict=True)), within_s=10)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_both_serve_and_their_metrics_are_one_document(pair: Instance, domain: str) -> None:
    """The kernel spreads connections; counters are added up, and no series stands there twice."""
    [directory] = {process.command.partition("--group ")[2] for process in workers(pair).values()}
    before = metric(pair.metrics().body, "aegis_requests_total")
    assert [status(pair, domain) for _ in range(40)] == [200] * 40
    document = pair.metrics().body
    after = metric(document, "aegis_requests_total")
    assert sum(after.values()) - sum(before.values()) == 40
    assert metric(document, "aegis_worker_up") == {("1",): 1, ("2",): 1}
    assert metric(document, "aegis_worker_compiled") == {(): build_directory().is_dir()}
    for path in Path(directory).iterdir():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            told = b"".join(iter(lambda: connection.recv(65_536), b""))
            assert sum(metric(told.partition(b"\r\n\r\n")[2], "aegis_requests_total").values()) > 0
        assert path.stat().st_mode & 0o077 == 0
    assert Path(directory).stat().st_mode & 0o077 == 0


def test_the_workers_page_shows_both_as_current(pair: Instance, domain: str) -> None:
    """By names that stay when one is replaced; the host's page says that both have accepted it."""
    admin = AdminSession(pair, "admin", ADMIN_PASSWORD)
    names = [f"{socket.gethostname()}:{pair.metrics_port}/{number}" for number in (1, 2)]

    def are_current() -> bool:
        page = admin.get("/admin/hosts/proxyworker/").body.decode()
        return all(name in page for name in names) and len(re.findall(r">\s*Current\s*<", page)) == 2

    eventually(are_current, within_s=15, every_s=0.2)
    [host] = [host for host in pair.api("GET", "hosts").json["results"] if domain in host["domains"]]
    editor = admin.get(f"/admin/hosts/host/{host['id']}/change/").body.decode()
    assert len(re.findall(r">\s*Accepted\s*<", editor)) == 2


def test_a_change_is_live_on_both_within_a_second(
    pair: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """No connection meets a worker that does not know it yet."""
    host = pair.create_host(**host_document(client_ca.client("before")))
    domain = host["domains"][0]
    eventually(lambda: all(status(pair, domain) == 200 for _ in range(10)), within_s=LIVE_WITHIN_S * 5)
    identity = client_ca.client("after")
    tls = {"client_certificate": identity.chain_pem, "client_key": identity.key_pem}
    assert pair.api("PATCH", f"hosts/{host['id']}", {"upstream_tls": tls}).status == 200

    def has_changed() -> bool:
        return all(seen(pair.proxy(domain).body)["subject"] == "CN=after" for _ in range(10))

    eventually(has_changed, within_s=LIVE_WITHIN_S)


def test_one_that_is_killed_costs_its_own_requests_only_and_is_replaced(pair: Instance, domain: str) -> None:
    """Each client had one request under way; what waited in the socket is served by the successor."""
    old = workers(pair)
    with load(pair.proxy_port, domain) as failures:
        os.kill(old["1"].pid, signal.SIGKILL)
        eventually(lambda: not is_ready(pair.metrics_port), within_s=2)
        eventually(lambda: is_ready(pair.metrics_port), within_s=REPLACED_WITHIN_S)
    assert len(failures) <= CLIENTS
    eventually(lambda: is_replaced(pair, "1", old["1"].pid), within_s=REPLACED_WITHIN_S)
    assert workers(pair)["2"].pid == old["2"].pid
    names = {worker["worker_id"] for worker in pair.api("GET", "workers").json["results"]}
    assert names == {f"{socket.gethostname()}:{pair.metrics_port}/{number}" for number in (1, 2)}


def test_one_that_is_told_to_end_costs_nothing(pair: Instance, domain: str) -> None:
    """A rolling restart under load, without any retry: no request fails, and counters do not fall."""
    for number in ("1", "2"):
        old = workers(pair)[number].pid
        before = sum(metric(pair.metrics().body, "aegis_requests_total").values())
        with load(pair.proxy_port, domain) as failures:
            os.kill(old, signal.SIGTERM)
            eventually(lambda number=number, old=old: is_replaced(pair, number, old), within_s=REPLACED_WITHIN_S)
            eventually(lambda: is_ready(pair.metrics_port), within_s=REPLACED_WITHIN_S)
        assert failures == []
        assert sum(metric(pair.metrics().body, "aegis_requests_total").values()) >= before


def test_their_supervisor_is_back_with_all_of_them(pair: Instance, domain: str) -> None:
    """The kernel ends its workers with it, so that the next one finds the ports free."""
    old = workers(pair)
    [group] = [process for process in pair.processes() if "aegis_site.proxy_group" in process.command]
    os.kill(group.pid, signal.SIGKILL)
    eventually(lambda: is_ready(pair.metrics_port) and status(pair, domain) == 200, within_s=REPLACED_WITHIN_S * 2)
    new = workers(pair)
    assert {process.pid for process in old.values()}.isdisjoint(process.pid for process in new.values())


class Group:
    """`manage.py runproxy` by itself, on the data of an instance and ports of its own."""

    def __init__(self, aegis: Instance, log: Path, **changes: str) -> None:
        self.http, self.metrics = free_port(), free_port()
        self.variables = {
            **aegis.variables,
            "AEGIS_PROXY_HTTP": f"127.0.0.1:{self.http}",
            "AEGIS_PROXY_HTTPS": "off",
            "AEGIS_PROXY_METRICS": f"127.0.0.1:{self.metrics}",
            "AEGIS_PROXY_DRAIN_DELAY_S": str(DRAIN_DELAY_S),
            **changes,
        }
        self.log = log

    @contextlib.contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        with self.log.open("wb") as log:
            process = subprocess.Popen(self.command, env=self.variables, stdout=log, stderr=log)
        try:
            eventually(lambda: is_ready(self.metrics), within_s=20)
            yield process
        finally:
            process.kill()
            process.wait()

    def refused(self, **changes: str) -> str:
        """What a start with `changes` says that does not come up."""
        result = subprocess.run(
            self.command, env=self.variables | changes, capture_output=True, text=True, timeout=20, check=False
        )
        assert result.returncode == 1
        return result.stderr

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(BASE_DIR / "manage.py"), "runproxy"]


def test_all_end_in_order(pair: Instance, domain: str, tmp_path: Path) -> None:
    """SIGTERM: first /readyz says 503 while requests are answered as before, then the port is closed, then all end."""
    group = Group(pair, tmp_path / "group.log")
    with group.running() as process:
        assert request(group.http, "/", headers={"Host": domain}).status == 200
        started_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        eventually(lambda: not is_ready(group.metrics), within_s=DRAIN_DELAY_S / 2)
        assert request(group.metrics, "/readyz").json["reason"] == "the workers are stopping"
        assert request(group.http, "/", headers={"Host": domain}).status == 200
        assert process.wait(DRAIN_DELAY_S + 12) == 0
        assert time.monotonic() - started_s >= DRAIN_DELAY_S
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", group.http))
    assert "Traceback" not in group.log.read_text()


def test_a_second_signal_does_not_wait(pair: Instance, tmp_path: Path) -> None:
    """An operator who insists gets the terminal back."""
    group = Group(pair, tmp_path / "group.log", AEGIS_PROXY_DRAIN_DELAY_S="60")
    with group.running() as process:
        process.send_signal(signal.SIGTERM)
        eventually(lambda: not is_ready(group.metrics), within_s=5)

        def has_ended() -> bool:
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        eventually(has_ended, within_s=10, every_s=0.2)


def test_a_second_start_on_the_same_ports_is_refused(pair: Instance, tmp_path: Path) -> None:
    """SO_REUSEPORT does not let it in; the text names the variable."""
    group = Group(pair, tmp_path / "group.log")
    with group.running():
        for variable, address in (("METRICS", group.metrics), ("HTTP", group.http)):
            free = {} if variable == "METRICS" else {"AEGIS_PROXY_METRICS": f"127.0.0.1:{free_port()}"}
            refused = group.refused(**free)
            assert f"AEGIS_PROXY_{variable}: 127.0.0.1:{address} is in use already" in refused
            assert "Traceback" not in refused
        alone = {"AEGIS_PROXY_PROCESSES": "1", "AEGIS_PROXY_METRICS": f"127.0.0.1:{free_port()}"}
        assert "cannot listen" in group.refused(**alone)
        assert is_ready(group.metrics)
