"""processes: command lines without secrets, environments with just what is needed."""

import dataclasses
import os
from pathlib import Path

import pytest

from aegis_site import processes
from aegis_site.demo import Demo
from aegis_site.environment import BASE_DIR, BindAddress, read_environment
from aegis_site.supervisor import Child
from proxyworker.service import DRAIN_S

VARIABLES = {
    "PATH": "/usr/bin",
    "HOME": "/home/somebody",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "PYTHONPATH": "/elsewhere",
    "AEGIS_DATA_DIR": "/data",
    "AEGIS_SSL_KEY": "secret-key",
    "AEGIS_ADMIN_PASSWORD": "secret-password",
    "AEGIS_ADMIN_PASSWORD_FILE": "/run/password",
}
ENVIRONMENT = read_environment({**VARIABLES, "AEGIS_SSL_KEY": "0f" * 32, "AEGIS_ADMIN_PASSWORD_FILE": ""})


def children() -> list[Child]:
    return [
        processes.valkey(ENVIRONMENT, VARIABLES),
        processes.web(VARIABLES),
        processes.worker(ENVIRONMENT, VARIABLES),
        processes.beat(ENVIRONMENT, VARIABLES),
        processes.proxy(ENVIRONMENT, VARIABLES),
        processes.demo_upstream(Demo(Path("/data"), BindAddress("127.0.0.1", 4433)), VARIABLES),
        processes.demo_zoo(Demo(Path("/data"), BindAddress("127.0.0.1", 4433)), VARIABLES),
    ]


@pytest.mark.parametrize("child", children(), ids=lambda child: child.name)
def test_no_child_is_told_a_secret_in_its_command_line(child: Child) -> None:
    """Nor does any get the first admin's password, or what has nothing to do with Aegis."""
    assert "secret" not in " ".join(child.argv)
    assert {"AEGIS_ADMIN_PASSWORD", "AEGIS_ADMIN_PASSWORD_FILE", "SSH_AUTH_SOCK"} & set(child.env) == set()
    assert child.env["PATH"] == "/usr/bin"


@pytest.mark.parametrize("child", children()[1:], ids=lambda child: child.name)
def test_a_python_child_finds_the_project_and_its_settings(child: Child) -> None:
    """From whatever directory it is started."""
    assert child.env["PYTHONPATH"] == f"{BASE_DIR}:/elsewhere"
    assert child.env["AEGIS_SSL_KEY"] == "secret-key"
    assert child.env["AEGIS_DATA_DIR"] == "/data"


def test_valkey_listens_on_its_socket_only_and_keeps_every_write() -> None:
    """No TCP port, a socket for this user, an append-only file, and no variable of Aegis."""
    child = processes.valkey(ENVIRONMENT, VARIABLES)
    options = dict(zip(child.argv[1::2], child.argv[2::2], strict=True))
    assert os.access(child.argv[0], os.X_OK)
    assert options["--port"] == "0"
    assert (options["--unixsocket"], options["--unixsocketperm"]) == ("/data/valkey.sock", "700")
    assert (options["--appendonly"], options["--appendfsync"]) == ("yes", "everysec")
    assert not [name for name in child.env if name.startswith("AEGIS_")]


def test_a_platform_without_valkey_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """An own Redis does as well."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="set AEGIS_REDIS_URL to use another one"):
        processes.valkey(ENVIRONMENT, VARIABLES)


def test_the_scheduler_keeps_its_state_in_the_data_directory() -> None:
    """Not in the directory in which somebody happened to start it."""
    argv = processes.beat(ENVIRONMENT, VARIABLES).argv
    assert argv[argv.index("--schedule") + 1] == "/data/beat-schedule"
    assert argv[argv.index("--pidfile") + 1] == ""


def test_a_worker_of_a_group_is_the_program_that_the_group_was() -> None:
    """All of its environment, its number, where it answers, and its sockets; it says itself when it ends."""
    child = processes.proxy_worker(ENVIRONMENT, 2, Path("/run/group"), (7, 9), VARIABLES)
    assert child.argv[1:] == (str(BASE_DIR / "manage.py"), "runproxy", "--worker", "2", "--group", "/run/group")
    assert child.env == {**VARIABLES, "MALLOC_ARENA_MAX": "2"}
    assert child.descriptor_map() == {0: "w", 1: "r", 2: "r", 3: 7, 4: 9, 5: "r"}


def test_the_proxy_gets_the_time_that_its_workers_need() -> None:
    """Who stops it waits longer than it waits for its workers, and that longer than they drain."""
    patient = dataclasses.replace(ENVIRONMENT, proxy_drain_delay_s=20)
    worker = processes.proxy_worker(patient, 1, Path("/run/group"), (), VARIABLES)
    assert 20 + DRAIN_S < worker.stop_within_s < processes.proxy(patient, VARIABLES).stop_within_s == 34
