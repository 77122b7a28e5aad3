"""An upstream that refuses the client certificate, from the client's 502 to the operator's page."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxyworker.log_files import file_name
from tests.e2e.conftest import UPSTREAM_NAME, HostDocument
from tests.support.admin import AdminSession
from tests.support.certificates import Authority
from tests.support.instance import ADMIN_PASSWORD, Answer, Instance
from tests.support.peers import program
from tests.support.polling import eventually
from tests.support.ports import free_port
from upstream_tls.tls.meanings import meaning_of

pytestmark = pytest.mark.e2e

LIVE_WITHIN_S = 1.0
# A worker reports what is new within five seconds, rarely seven; the rest is for a busy machine.
SHOWN_WITHIN_S = 15.0

_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend strict
  bind 127.0.0.1:{port} ssl crt server.pem ca-file client-ca.crt verify required
  http-request return status 200
"""


@pytest.fixture(scope="module")
def strict_port(tmp_path_factory: pytest.TempPathFactory, server_ca: Authority, client_ca: Authority) -> Iterator[int]:
    """A real HAProxy. It refuses in the handshake, where nginx would end it and answer 400."""
    directory, port = tmp_path_factory.mktemp("haproxy"), free_port()
    leaf = server_ca.server(UPSTREAM_NAME)
    (directory / "server.pem").write_text(leaf.chain_pem + leaf.key_pem)
    (directory / "client-ca.crt").write_text(client_ca.pem)
    (directory / "haproxy.cfg").write_text(_HAPROXY.format(port=port))
    command = [program("haproxy"), "-db", "-f", "haproxy.cfg"]
    with running(command, directory) as process:
        eventually(lambda: process.poll() is not None or is_listening(port), within_s=10)
        yield port


@contextlib.contextmanager
def running(command: list[str], directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    return any(line.split()[1].endswith(f":{port:04X}") for line in Path("/proc/net/tcp").read_text().splitlines()[1:])


def test_a_refused_certificate_is_seen_everywhere(
    aegis: Instance, host_document: HostDocument, strict_port: int
) -> None:
    """502 with a request id; that id with the code in the access log; the code in /metrics; code, cause and fix on the
    host's page; a badge in the list. The client learns nothing of it."""
    stranger = Authority("Another CA").client("stranger")
    host = aegis.create_host(
        **host_document(stranger, upstreams=[{"scheme": "https", "address": "127.0.0.1", "port": strict_port}])
    )
    answer = eventually(lambda: answered_by(aegis, host["domains"][0]), within_s=LIVE_WITHIN_S)
    assert answer.status == 502
    request_id = dict(answer.headers)["X-Request-ID"]
    for secret in (b"certificate", b"tls", b"unknown", b"authority"):
        assert secret not in answer.body.lower()

    log = aegis.data_dir / "access-log" / file_name(host["name"])
    eventually(lambda: log.exists() and request_id in log.read_text(), within_s=5)
    [line] = [json.loads(line) for line in log.read_text().splitlines() if request_id in line]
    code = "client_certificate_untrusted"
    assert (line["status"], line["upstream_status"], line["upstream_failure"]) == (502, None, code)
    assert failures_counted(aegis, host["name"])[code] >= 1

    admin = AdminSession(aegis, "admin", ADMIN_PASSWORD)
    editor = f"/admin/hosts/host/{host['id']}/change/"
    page = eventually(lambda: page_with(admin, editor, f'data-code="{code}"'), within_s=SHOWN_WITHIN_S, every_s=0.2)
    meaning = meaning_of(code)
    assert meaning is not None
    text = " ".join(page.replace("&#x27;", "'").replace("&quot;", '"').split())
    assert " ".join(meaning.cause.split()) in text
    assert " ".join(meaning.fix.split()) in text
    assert "Request ID" in text
    changelist = admin.get(f"/admin/hosts/host/?q={host['name']}").body.decode()
    assert "Upstream failure" in changelist


def answered_by(aegis: Instance, domain: str) -> Answer | None:
    """The answer once the worker knows the domain."""
    answer = aegis.proxy(domain)
    return None if answer.status in {404, 421} else answer


def page_with(admin: AdminSession, path: str, text: str) -> str:
    """The page once it has `text`, otherwise empty."""
    page = admin.get(path).body.decode()
    return page if text in page else ""


def failures_counted(aegis: Instance, host_name: str) -> dict[str, float]:
    """aegis_upstream_failures_total of a host by code."""
    return {
        sample.labels["code"]: sample.value
        for family in text_string_to_metric_families(aegis.metrics().body.decode())
        for sample in family.samples
        if sample.name == "aegis_upstream_failures_total" and sample.labels["host"] == host_name
    }


def test_a_change_that_breaks_an_upstream_is_found_and_reverted(
    aegis: Instance, host_document: HostDocument, strict_port: int, client_ca: Authority
) -> None:
    """The inbox has the failure within seconds and names the change before it; reverting that restores the service."""
    document = host_document(
        client_ca.client("orders"), upstreams=[{"scheme": "https", "address": "127.0.0.1", "port": strict_port}]
    )
    host = aegis.create_host(**document)
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=10)
    changed = aegis.api("PATCH", f"hosts/{host['id']}", {"upstream_tls": {"enabled": False}})
    assert changed.status == 200, changed.body
    eventually(lambda: aegis.proxy(domain).status == 502, within_s=10)

    group = eventually(lambda: failure_of(aegis, host["id"]), within_s=SHOWN_WITHIN_S, every_s=0.2)
    assert (group["code"], group["state"]) == ("client_certificate_required", "open")
    shown = aegis.api("GET", f"failures/{group['id']}").json
    entry = shown["changes_before"][0]
    assert entry["changes"] == [{"field": "upstream_tls.enabled", "before": True, "after": False}]
    assert entry["revertible"]
    page = AdminSession(aegis, "admin", ADMIN_PASSWORD).get(f"/admin/healthchecks/failuregroup/{group['id']}/change/")
    assert f"/admin/hosts/host/revert/{entry['id']}/" in page.body.decode()

    reverted = aegis.api("POST", f"audit/{entry['id']}/revert", {})
    assert reverted.status == 200, reverted.body
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=10)


def failure_of(aegis: Instance, host_id: str) -> dict[str, Any] | None:
    """The first group of a host, once there is one."""
    answer = aegis.api("GET", f"failures?host={host_id}")
    assert answer.status == 200, answer.body
    return next(iter(answer.json["results"]), None)
