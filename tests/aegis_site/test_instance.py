"""instance: knows when everything is ready and says how to reach it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from aegis_site import instance
from aegis_site.demo import Demo
from aegis_site.environment import BindAddress, read_environment
from aegis_site.instance import Instance, ReadyCheck, main, valkey_problem
from aegis_site.instance_lock import InstanceLock
from aegis_site.stop_signals import IMPATIENT_AFTER_S
from aegis_site.supervisor import Supervisor
from tests.support.ports import free_port


class FakeReactor(Clock):
    """A clock that is its own thread."""

    def callFromThread(self, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)


VARIABLES = {
    "AEGIS_DATA_DIR": "/data",
    "AEGIS_WEB_BIND": "0.0.0.0:8000",
    "AEGIS_PROXY_HTTP": "127.0.0.1:8080,[::1]:8081",
    "AEGIS_PROXY_HTTPS": "off",
}
DEMO = Demo(Path("/data"), BindAddress("127.0.0.1", 4433))


def an_instance(demo: Demo | None = None, **changes: str) -> Instance:
    return Instance(reactor=Clock(), environment=read_environment({**VARIABLES, **changes}), demo=demo)


@contextmanager
def answering(status: int) -> Iterator[BindAddress]:
    """A server that answers every GET with `status` and the Host that it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.headers["Host"].encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield BindAddress("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()


def test_a_ready_process_has_no_problem() -> None:
    """200 is ready."""
    with answering(200) as address:
        assert ReadyCheck(name="web", address=address, path="/readyz", host_field="x").problem() == ""


def test_an_unready_process_is_quoted() -> None:
    """The status and the reason are what the operator needs."""
    with answering(503) as address:
        check = ReadyCheck(name="web", address=address, path="/readyz", host_field="aegis.example")
        assert check.problem() == "web: 503 aegis.example"


def test_a_process_that_does_not_listen_yet_is_a_problem() -> None:
    """Refused is not ready."""
    check = ReadyCheck(name="proxy", address=BindAddress("127.0.0.1", free_port()), path="/", host_field="x")
    assert check.problem() == "proxy: [Errno 111] Connection refused"


@contextmanager
def unix_server(path: Path, reply: bytes) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [(b"+PONG\r\n", ""), (b"-LOADING Valkey is loading\r\n", "valkey: -LOADING Valkey is loading")],
)
def test_valkey_is_ready_when_it_answers(tmp_path: Path, reply: bytes, problem: str) -> None:
    """A Valkey that still loads its file is not ready."""
    with unix_server(tmp_path / "valkey.sock", reply):
        assert valkey_problem(tmp_path / "valkey.sock") == problem


def test_valkey_without_a_socket_is_not_ready(tmp_path: Path) -> None:
    """Before its first start there is no file."""
    assert valkey_problem(tmp_path / "valkey.sock") == "valkey: No such file or directory"


def test_the_ready_block_has_addresses_that_work_on_this_machine() -> None:
    """A wildcard is shown as loopback, and a listener that is off is not shown."""
    text = an_instance()._ready_block()
    assert "Admin    http://127.0.0.1:8000/admin/" in text
    assert "Proxy    http://127.0.0.1:8080  http://[::1]:8081\n" in text
    assert "https" not in text


def test_the_demo_prints_its_lines_and_then_that_it_is_ready() -> None:
    """Whoever waits for the last line has seen the commands."""
    assert an_instance(DEMO)._ready_block().endswith("https://127.0.0.1:4433/\nDemo is ready.")
    with_zoo = an_instance(replace(DEMO, has_zoo=True))._ready_block()
    assert "press Test Connection" in with_zoo
    assert with_zoo.endswith("\nDemo is ready.")


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ("", "localhost"),
        ("aegis.example.com,other", "aegis.example.com"),
        (".example.com", "example.com"),
        ("*", "localhost"),
    ],
)
def test_web_is_asked_for_a_name_that_it_answers_to(allowed: str, asked: str) -> None:
    """Django refuses names that are not in AEGIS_ALLOWED_HOSTS, also on loopback."""
    checks = an_instance(AEGIS_ALLOWED_HOSTS=allowed)._ready_checks()
    assert [(check.name, check.host_field) for check in checks] == [("web", asked), ("proxy", "127.0.0.1:9180")]


def test_the_demo_is_ready_when_a_request_through_the_proxy_succeeds() -> None:
    """All that the printed command needs."""
    check = an_instance(DEMO)._ready_checks()[-1]
    assert (check.name, str(check.address), check.host_field) == ("demo", "127.0.0.1:8080", "demo.localhost")


def test_the_demo_is_asked_for_where_no_load_balancer_has_to_come_first() -> None:
    """A listener with proxy_protocol closes what does not begin with that header: it is neither asked nor printed."""
    subject = an_instance(
        DEMO,
        AEGIS_PROXY_HTTP="127.0.0.1:8080 proxy_protocol, 127.0.0.1:8082",
        AEGIS_TRUSTED_PROXIES="127.0.0.1",
    )
    assert str(subject._ready_checks()[-1].address) == "127.0.0.1:8082"
    assert "http://127.0.0.1:8082/" in "\n".join(DEMO.lines(subject._environment))


@pytest.mark.parametrize(("url", "is_private"), [("", True), ("redis://elsewhere", False)])
def test_a_configured_redis_is_used_instead_of_a_private_one(url: str, is_private: bool) -> None:
    """AEGIS_REDIS_URL replaces Valkey, in embedded mode too."""
    assert an_instance(AEGIS_REDIS_URL=url)._has_private_valkey is is_private


def test_impatience_counts_only_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs send a signal to a process and to its group; that is one wish, not two."""
    clock = FakeReactor()
    kills: list[float] = []
    monkeypatch.setattr(Supervisor, "kill", lambda _: kills.append(clock.seconds()))
    subject = Instance(reactor=clock, environment=read_environment(VARIABLES), demo=None)
    for pause_s in (0, 0.1, IMPATIENT_AFTER_S):
        clock.advance(pause_s)
        subject._signals.signalled(2, None)
    assert kills == [0.1 + IMPATIENT_AFTER_S]


def test_a_second_instance_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status is that of an error, and its text the reason."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path))
    with InstanceLock(tmp_path), pytest.raises(SystemExit) as end, kept_umask():
        main([])
    assert str(end.value.code).startswith(f"aegis: Aegis already runs on {tmp_path}")


@contextmanager
def kept_umask() -> Iterator[None]:
    import os

    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def test_output_goes_on_when_the_terminal_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed terminal does not take the proxy with it."""

    class Gone:
        def write(self, data: bytes) -> None:
            raise BrokenPipeError

    class Stdout:
        buffer = Gone()

    write: Callable[[str, bytes], None] = instance.say
    monkeypatch.setattr("sys.stdout", Stdout())
    write("web", b"line")
