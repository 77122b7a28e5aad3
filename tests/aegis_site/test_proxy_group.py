"""proxy_group: its sockets and what it passes on. That it serves traffic is shown by tests/e2e/test_proxy_group.py."""

import contextlib
import itertools
import json
import socket
from pathlib import Path

import pytest

from aegis_site.environment import Environment, read_environment
from aegis_site.listeners import ListenerProblem
from aegis_site.proxy_group import check_length, open_sockets, say_as
from tests.support.ports import free_port


def environment(**changes: str) -> Environment:
    addresses = {
        "AEGIS_PROXY_HTTP": f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}",
        "AEGIS_PROXY_HTTPS": f"127.0.0.1:{free_port()}",
    }
    return read_environment({**addresses, "AEGIS_PROXY_PROCESSES": "3", **changes})


def test_each_worker_has_a_socket_on_each_address() -> None:
    """In the order in which the worker looks for them: AEGIS_PROXY_HTTP, then AEGIS_PROXY_HTTPS."""
    chosen = environment()
    ports = [address.port for address in (*chosen.proxy_http, *chosen.proxy_https)]
    with contextlib.ExitStack() as opened:
        sockets = open_sockets(chosen)
        for each in itertools.chain(*sockets):
            opened.enter_context(each)
        assert [[each.getsockname()[1] for each in own] for own in sockets] == [ports] * 3


def test_what_is_taken_is_named_and_the_rest_is_let_go() -> None:
    """No address stays taken by a group that does not start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        chosen = environment(AEGIS_PROXY_HTTPS=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ListenerProblem, match=r"AEGIS_PROXY_HTTPS: .* is in use already"):
            open_sockets(chosen)
    for address in chosen.proxy_http:
        socket.create_server((address.host, address.port)).close()


def test_a_directory_that_is_too_deep_is_named() -> None:
    """A worker could not say why it does not come up."""
    check_length(Path("/tmp/aegis-proxy-12345678"))
    with pytest.raises(ListenerProblem, match="TMPDIR is too long"):
        check_length(Path("/" + "x" * 100))


def test_lines_for_people_name_the_worker(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One terminal, several processes."""
    say_as("console")("worker 2", b"ready")
    assert capfdbinary.readouterr().err == b"worker 2 | ready\n"


def test_lines_for_machines_are_json_each(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A worker's own lines pass unchanged; what is none, a traceback or the supervisor's word, becomes one."""
    say = say_as("json")
    say("worker 2", b'{"event": "ready"}')
    say("worker 2", b"ended by SIGKILL")
    first, second = capfdbinary.readouterr().err.splitlines()
    assert first == b'{"event": "ready"}'
    assert json.loads(second) == {
        "event": "ended by SIGKILL",
        "level": "warning",
        "logger": "aegis.proxy_group.worker 2",
    }
