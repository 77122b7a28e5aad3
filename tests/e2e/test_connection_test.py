"""Test Connection with a whole Aegis: the API, the queue, the worker, and upstreams on loopback."""

import concurrent.futures
import signal
import socket
import time
from typing import Any

import pytest

from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority, Leaf
from tests.support.files import contents_below
from tests.support.instance import Answer, Instance
from tests.support.nginx import Nginx
from tests.support.plain_upstream import answering

pytestmark = pytest.mark.e2e

AT_ONCE = 20
# A worker with 32 threads busy in handshakes stays far below; a leak or a process per test would not.
WORKER_GROWTH_LIMIT_BYTES = 60 * 1024 * 1024


@pytest.fixture
def leaf(client_ca: Authority) -> Leaf:
    return client_ca.client("orders client")


def ask(aegis: Instance, host: dict[str, Any], **document: Any) -> Answer:
    return aegis.api("POST", f"hosts/{host['id']}/test-upstream-tls", document)


def test_nginx_and_the_certificate_it_demands(aegis: Instance, host_document: HostDocument, leaf: Leaf) -> None:
    """With the certificate a success; without one the diagnosis, although nginx finishes the handshake."""
    host = aegis.create_host(**host_document(leaf))
    good = ask(aegis, host).json
    assert (good["success"], good["verified"], good["http"], good["error"]) == (True, True, {"status": 200}, None)
    assert good["upstream"]["id"] == host["upstreams"][0]["id"]
    assert good["tls"]["client_certificate_requested"]
    assert good["tls"]["client_certificate_sent"]
    bad = ask(aegis, host, upstream_tls={"enabled": False}).json
    assert bad["success"] is False
    assert bad["error"]["code"] == "client_certificate_required"
    assert bad["error"]["fix"]
    # The host itself was tested once only.
    assert aegis.api("GET", f"hosts/{host['id']}").json["upstream_tls"]["enabled"] is True


def test_twenty_tests_of_silent_upstreams_hold_up_nobody(aegis: Instance, host_document: HostDocument) -> None:
    """All answer within eight seconds, and meanwhile another test, the API and the sweeps go on."""
    with answering(None) as port:
        host = aegis.create_host(**host_document(upstreams=[{"address": "127.0.0.1", "port": port}]))
        quick = aegis.create_host(**host_document(upstreams=[{"address": "127.0.0.1", "port": _closed_port()}]))
        worker = aegis.find("worker")
        assert worker is not None

        def timed(tested: dict[str, Any]) -> tuple[float, Answer]:
            begun = time.monotonic()
            answer = ask(aegis, tested)
            return time.monotonic() - begun, answer

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as executor:
            slow = [executor.submit(timed, host) for _ in range(AT_ONCE)]
            time_of_other, other = timed(quick)
            begun = time.monotonic()
            assert aegis.api("GET", "hosts").status == 200
            time_of_list = time.monotonic() - begun
            waited = [future.result() for future in slow]
        after = aegis.find("worker")
    for seconds, answer in waited:
        assert answer.status == 200, answer.body
        assert answer.json["error"]["code"] == "timeout"
        assert 4.5 <= seconds <= 8
    assert other.json["error"]["code"] == "connection_refused"
    assert time_of_other < 4
    assert time_of_list < 2
    assert after is not None
    assert after.pid == worker.pid
    assert after.rss_bytes - worker.rss_bytes < WORKER_GROWTH_LIMIT_BYTES


def test_all_upstreams_are_tested_side_by_side(aegis: Instance, host_document: HostDocument) -> None:
    """However many are silent, the answer takes as long as one."""
    with answering(None) as port:
        upstreams = [{"address": "127.0.0.1", "port": port}] * 10
        host = aegis.create_host(**host_document(upstreams=upstreams))
        begun = time.monotonic()
        results = ask(aegis, host, all=True).json["results"]
        assert time.monotonic() - begun < 8
    assert len(results) == len(upstreams)


def test_without_a_worker_it_says_so(aegis: Instance, host_document: HostDocument, leaf: Leaf) -> None:
    """503 in about two and a half seconds; the worker, back again, leaves the expired test alone."""
    host = aegis.create_host(**host_document(leaf))
    aegis.signal("worker", signal.SIGSTOP)
    try:
        begun = time.monotonic()
        answer = ask(aegis, host)
        assert answer.status == 503
        assert answer.json["errors"][0]["code"] == "no_worker"
        assert time.monotonic() - begun < 4
    finally:
        aegis.signal("worker", signal.SIGCONT)
    assert ask(aegis, host).status == 200


def test_no_pasted_key_is_left_anywhere(aegis: Instance, host_document: HostDocument, leaf: Leaf) -> None:
    """Neither in the database and its log, nor in what Valkey wrote down, nor in what was printed."""
    host = aegis.create_host(**host_document())
    pair = {"enabled": True, "client_certificate": leaf.chain_pem, "client_key": leaf.key_pem}
    answer = ask(aegis, host, upstream_tls=pair)
    assert answer.json["success"] is True
    canaries = [line.encode() for line in leaf.key_pem.splitlines()[1:-1]]
    assert canaries[0] not in answer.body
    assert canaries[0].decode() not in aegis.log
    files = contents_below(aegis.data_dir)
    for path, content in files.items():
        assert not any(canary in content for canary in canaries), path
        assert leaf.key_der not in content, path
    assert any("appendonly" in str(path) for path in files)


def test_the_queue_holds_row_ids(aegis: Instance, host_document: HostDocument, nginx: Nginx) -> None:
    """What Valkey wrote down names the task and the row, and no certificate."""
    host = aegis.create_host(**host_document())
    assert ask(aegis, host).status == 200
    files = contents_below(aegis.data_dir)
    written = b"".join(content for path, content in files.items() if "appendonly" in str(path))
    assert b"hosts.tasks.run_connection_tests" in written
    assert b"BEGIN CERTIFICATE" not in written


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
