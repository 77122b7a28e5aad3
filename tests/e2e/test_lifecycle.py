"""Starting, refusing to start, stopping, and starting again."""

import os
import re
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import HostDocument
from tests.support.admin import AdminSession
from tests.support.certificates import Authority
from tests.support.instance import ADMIN_PASSWORD, Instance
from tests.support.nginx import seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e


def test_a_second_start_on_the_same_directory_is_refused_with_the_pid(aegis: Instance) -> None:
    """One line on standard error that names the process to stop."""
    result = aegis.manage("up")
    assert result.returncode == 1
    assert f"Aegis already runs on {aegis.data_dir} (pid {aegis.process.pid}); stop it first" in result.stderr
    assert "Traceback" not in result.stderr
    assert aegis.metrics("/readyz").status == 200


def test_a_taken_port_is_refused_with_its_variable(aegis: Instance, tmp_path: Path) -> None:
    """Another instance on the same address of the admin says which variable to change, and starts nothing."""
    other = Instance(tmp_path / "other", environment={"AEGIS_WEB_BIND": f"127.0.0.1:{aegis.web_port}"})
    result = other.manage("up")
    assert result.returncode == 1
    assert f"AEGIS_WEB_BIND: 127.0.0.1:{aegis.web_port} is in use already" in result.stderr
    assert other.processes() == []


def test_two_instances_run_side_by_side_and_one_stops_without_the_other(
    aegis: Instance, tmp_path: Path, host_document: HostDocument, client_ca: Authority
) -> None:
    """What one serves the other does not know; Ctrl-C of one leaves none of its processes and all of the other's."""
    with Instance(tmp_path / "other") as other:
        domain = other.create_host(**host_document(client_ca.client("other")))["domains"][0]
        eventually(lambda: other.proxy(domain).status == 200, within_s=1)
        assert aegis.proxy(domain).status != 200
        roles = ("up", "web", "worker", "beat", "proxy", "valkey")
        assert [role for role in roles if other.find(role) is None] == []
        assert other.stop(signal.SIGINT) == 0
    assert "Traceback" not in other.log
    assert aegis.metrics("/readyz").status == 200


def test_the_first_start_shows_a_generated_password_once(tmp_path: Path) -> None:
    """The password signs in; neither the second start nor any file shows it again; SIGTERM leaves nothing."""
    first = Instance(tmp_path / "fresh", environment={"AEGIS_ADMIN_PASSWORD": ""})
    with first:
        found = re.search(r"Created the user admin with password (\S+) \(not shown again\)", first.log)
        assert found is not None
        password = found[1]
        assert AdminSession(first, "admin", password).is_signed_in
        assert first.stop(signal.SIGTERM) == 0
    for path in first.data_dir.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes(), path.name
    with first:
        assert password not in first.log
        assert "Created" not in first.log


def test_killing_the_supervisor_ends_all_and_the_next_start_has_everything(
    tmp_path: Path, host_document: HostDocument, client_ca: Authority
) -> None:
    """kill -9 of `up` leaves no process behind, and nothing that was saved is lost."""
    instance = Instance(tmp_path / "crashed")
    with instance:
        domain = instance.create_host(**host_document(client_ca.client("kept")))["domains"][0]
        eventually(lambda: instance.proxy(domain).status == 200, within_s=1)
        os.kill(instance.process.pid, signal.SIGKILL)
        instance.process.wait(5)
        eventually(lambda: not instance.processes(), within_s=5)
    with instance:
        assert seen(instance.proxy(domain).body)["subject"] == "CN=kept"


def test_a_wrong_key_is_refused_and_names_the_secrets(aegis: Instance, tmp_path: Path) -> None:
    """A copy of the database with another key does not start."""
    copy = Instance(tmp_path / "copy", environment={"AEGIS_SSL_KEY": "ab" * 32})
    copy.data_dir.mkdir(mode=0o700)
    with (
        sqlite3.connect(aegis.data_dir / "aegis.sqlite3") as source,
        sqlite3.connect(copy.data_dir / "aegis.sqlite3") as target,
    ):
        source.backup(target)
    source.close()
    target.close()
    result = copy.manage("prepare")
    assert result.returncode == 1
    assert "AEGIS_SSL_KEY does not open these stored secrets" in result.stderr
    assert "localca.CertificateAuthority" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_without_any_key_is_refused(tmp_path: Path) -> None:
    """A lost aegis.env is not replaced by a new key."""
    instance = Instance(tmp_path / "keyless")
    instance.data_dir.mkdir(mode=0o700)
    (instance.data_dir / "aegis.sqlite3").touch()
    result = instance.manage("up")
    assert result.returncode == 1
    assert "has a database but no AEGIS_SSL_KEY" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("variable", ["AEGIS_WEB_BIND", "AEGIS_PROXY_HTTP", "AEGIS_LOG_LEVEL"])
def test_a_malformed_variable_is_one_line(tmp_path: Path, variable: str) -> None:
    """It names the variable, without a traceback."""
    result = Instance(tmp_path / "var", environment={variable: "nonsense"}).manage("up")
    assert result.returncode == 1
    assert re.fullmatch(rf"aegis: {variable}: 'nonsense' is .*\n", result.stderr)


def test_a_change_saved_in_the_admin_is_live_within_a_second(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """The form that a person fills in, posted as a browser does."""
    host = aegis.create_host(**host_document(client_ca.client("person")))
    admin = AdminSession(aegis, "admin", ADMIN_PASSWORD)
    form = admin.form(f"/admin/hosts/host/{host['id']}/change/")
    domain = f"renamed-{host['domains'][0]}"
    admin.submit(form, {"domains": domain})
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=1)
    assert seen(aegis.proxy(domain).body)["subject"] == "CN=person"
