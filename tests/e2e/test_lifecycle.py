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
from tests.support.files import contents_below
from tests.support.instance import ADMIN_PASSWORD, Instance
from tests.support.nginx import seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

# Of an idle proxy with one host.
PROXY_RSS_MAX_BYTES = 90 * 1024 * 1024


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


def test_the_life_of_an_installation(
    aegis: Instance, tmp_path: Path, host_document: HostDocument, client_ca: Authority
) -> None:
    """Beside another one: a first start, kill -9 of the supervisor, a start that has everything, and SIGTERM."""
    other = Instance(tmp_path / "other", environment={"AEGIS_ADMIN_PASSWORD": ""}, is_new=True)
    with other:
        password = shown_password(other)
        assert AdminSession(other, "admin", password).is_signed_in
        domain = other.create_host(**host_document(client_ca.client("kept")))["domains"][0]
        eventually(lambda: other.proxy(domain).status == 200, within_s=1)
        assert aegis.proxy(domain).status != 200
        roles = ("up", "web", "worker", "beat", "proxy", "valkey")
        assert [role for role in roles if other.find(role) is None] == []
        os.kill(other.process.pid, signal.SIGKILL)
        other.process.wait(5)
        eventually(lambda: not other.processes(), within_s=5)
    for path, content in contents_below(other.data_dir).items():
        assert password.encode() not in content, path.name
    with other:
        assert seen(other.proxy(domain).body)["subject"] == "CN=kept"
        assert password not in other.log
        assert "Created" not in other.log
        proxy = other.find("proxy")
        assert proxy is not None
        assert proxy.rss_bytes < PROXY_RSS_MAX_BYTES
        assert other.stop(signal.SIGTERM) == 0
    assert "Traceback" not in other.log
    assert aegis.metrics("/readyz").status == 200


def shown_password(first: Instance) -> str:
    """What the first start tells the person at the terminal."""
    found = re.search(r"Created the user admin with password (\S+) \(not shown again\)", first.log)
    assert found is not None
    return found[1]


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
