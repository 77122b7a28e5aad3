"""HTTPS towards clients: from the admin's button to curl, which trusts the local CA and nothing else."""

import json
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.e2e.conftest import HostDocument
from tests.support.admin import AdminSession
from tests.support.certificates import Authority
from tests.support.instance import ADMIN_PASSWORD, Instance
from tests.support.nginx import seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

LIVE_WITHIN_S = 1.0


def curl(aegis: Instance, directory: Path, domain: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """One request by HTTPS, verified against the local CA."""
    ca_path = directory / "aegis-local-ca.crt"
    if not ca_path.exists():
        ca_path.write_bytes(aegis.web("/api/v1/ca/aegis-local-ca.crt").body)
    return subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "5", "--cacert", str(ca_path)),
            *("--resolve", f"{domain}:{aegis.https_port}:127.0.0.1", *options),
            f"https://{domain}:{aegis.https_port}/path",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_one_button_makes_a_host_reachable_by_https(
    aegis: Instance, host_document: HostDocument, client_ca: Authority, tmp_path: Path
) -> None:
    """Within a second curl accepts the certificate, a subdomain's too, and plain HTTP leads there."""
    domain = f"{uuid.uuid4().hex[:12]}.example.com"
    host = aegis.create_host(**host_document(client_ca.client("orders"), domains=[domain, f"*.{domain}"]))
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=LIVE_WITHIN_S)
    assert curl(aegis, tmp_path, domain).returncode == 60  # CURLE_PEER_FAILED_VERIFICATION
    admin = AdminSession(aegis, "admin", ADMIN_PASSWORD)
    form = admin.form(f"/admin/hosts/host/{host['id']}/change/")
    admin.submit(form, {"hosts_host_save_and_issue_server": "1", "force_https": "on", "hsts_max_age_s": "600"})
    eventually(lambda: curl(aegis, tmp_path, domain).returncode == 0, within_s=LIVE_WITHIN_S)
    answer = curl(aegis, tmp_path, f"sub.{domain}", "--include").stdout
    head, _, body = answer.partition("\n\n") if "\r\n" not in answer else answer.partition("\r\n\r\n")
    assert "Strict-Transport-Security: max-age=600" in head
    assert seen(body.encode())["subject"] == "CN=orders"
    redirect = aegis.proxy(domain, "/path?query")
    location = dict(redirect.headers)["Location"]
    assert (redirect.status, location) == (308, f"https://{domain}:{aegis.https_port}/path?query")


def test_a_certificate_is_replaced_without_restart(
    aegis: Instance, host_document: HostDocument, client_ca: Authority, tmp_path: Path
) -> None:
    """Uploaded through the API; the next handshake shows it, and other names get the default certificate."""
    domain = f"{uuid.uuid4().hex[:12]}.example.com"
    host = aegis.create_host(
        **host_document(client_ca.client("orders"), domains=[domain]), downstream_tls={"issue": True}
    )
    eventually(lambda: curl(aegis, tmp_path, domain).returncode == 0, within_s=LIVE_WITHIN_S)
    other = Authority("Another CA")
    leaf = other.server(domain)
    answer = aegis.api(
        "PATCH", f"hosts/{host['id']}", {"downstream_tls": {"certificate": leaf.chain_pem, "key": leaf.key_pem}}
    )
    assert answer.status == 200, answer.body
    eventually(lambda: curl(aegis, tmp_path, domain).returncode == 60, within_s=LIVE_WITHIN_S)
    other_path = tmp_path / "other.crt"
    other_path.write_text(other.pem)
    assert curl(aegis, tmp_path, domain, "--cacert", str(other_path)).returncode == 0
    assert leaf.key_pem.splitlines()[1] not in json.dumps(aegis.api("GET", f"hosts/{host['id']}").json)
    assert leaf.key_pem.splitlines()[1] not in aegis.log
    stranger = curl(aegis, tmp_path, "stranger.example.com", "--insecure", "--verbose")
    assert "CN=Aegis default certificate" in stranger.stderr
