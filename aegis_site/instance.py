"""All of Aegis in one terminal: `manage.py up` ends as this module, after the first-run steps.

Laws of this module: no Django is imported, so that the process that waits all day stays small; children are started
in the order in which they need each other and stopped the other way round.
"""

import argparse
import http.client
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet import task
from twisted.internet.threads import deferToThread

from aegis_site import processes
from aegis_site.data_directory import PRIVATE_UMASK
from aegis_site.demo import DEMO_DOMAIN, Demo, open_listener
from aegis_site.environment import (
    BASE_DIR,
    VALKEY_SOCKET,
    BindAddress,
    Environment,
    EnvironmentProblem,
    read_environment,
)
from aegis_site.instance_lock import AlreadyRunning, InstanceLock
from aegis_site.listeners import ListenerProblem, check_listeners_are_free
from aegis_site.stop_signals import StopSignals
from aegis_site.supervisor import Supervisor
from aegis_site.terminal import prefixed, show

POLL_S = 0.1
# What does not work at once is asked less and less often: every answer of a broken process may be a traceback.
POLL_GROWTH = 1.1
POLL_MAX_S = 1.0
# Nothing on this machine that works takes longer to say whether it is ready.
ANSWER_DEADLINE_S = 2.0
# How often the waiting is explained.
EXPLAIN_EVERY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyCheck:
    """An URL that answers 200 when `name` does its work."""

    name: str
    address: BindAddress
    path: str
    host_field: str

    def problem(self) -> str:
        """Why it is not ready, or empty. Blocks for up to ANSWER_DEADLINE_S."""
        connection = http.client.HTTPConnection(self.address.url_host, timeout=ANSWER_DEADLINE_S)
        try:
            connection.request("GET", self.path, headers={"Host": self.host_field, "Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(500).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return f"{self.name}: {error}"
        finally:
            connection.close()
        return "" if answer.status == http.HTTPStatus.OK else f"{self.name}: {answer.status} {body}"


class Instance:
    """The running whole. `demo` adds the demo upstream."""

    def __init__(self, *, reactor: Any, environment: Environment, demo: Demo | None) -> None:
        self._reactor = reactor
        self._environment = environment
        self._demo = demo
        self._supervisor = Supervisor(reactor=reactor, say=say)
        self._signals = StopSignals(reactor=reactor, insist=self._supervisor.kill)

    async def run(self) -> None:
        """Start everything, tell when it is ready, wait for a signal, stop everything."""
        self._reactor.callWhenRunning(self._signals.take)
        await self._start()
        if await self._ready():
            announce(self._ready_block())
        await self._signals.wish
        await self._stop()

    async def _start(self) -> None:
        variables = {**os.environ, "AEGIS_DATA_DIR": str(self._environment.data_dir)}
        start = self._supervisor.start
        if self._has_private_valkey:
            (self._environment.data_dir / processes.VALKEY_DIRECTORY).mkdir(exist_ok=True)
            start(processes.valkey(self._environment, variables))
            await self._until(lambda: valkey_problem(self._environment.data_dir / VALKEY_SOCKET))
        if self._signals.is_stop_requested:
            return
        if self._demo:
            start(processes.demo_upstream(self._demo, variables))
        if self._demo and self._demo.has_zoo:
            start(processes.demo_zoo(self._demo, variables))
        start(processes.web(variables))
        start(processes.proxy(self._environment, variables))
        start(processes.worker(self._environment, variables))
        start(processes.beat(self._environment, variables))

    async def _stop(self) -> None:
        announce("Stopping ...")
        await self._supervisor.stop(name for name in self._supervisor.names if name != processes.VALKEY_NAME)
        await self._supervisor.stop()

    async def _ready(self) -> bool:
        """True once all are ready, False when asked to stop before."""
        for check in self._ready_checks():
            await self._until(check.problem)
        return not self._signals.is_stop_requested

    async def _until(self, problem: Callable[[], str]) -> None:
        """Wait until `problem`, called in a thread, is empty or a stop is requested; say what is waited for."""
        explain_at, pause_s = self._reactor.seconds() + EXPLAIN_EVERY_S, POLL_S
        while not self._signals.is_stop_requested and (text := await deferToThread(problem)):
            if self._reactor.seconds() > explain_at:
                say("aegis", f"not ready yet, {text}".encode())
                explain_at += EXPLAIN_EVERY_S
            await task.deferLater(self._reactor, pause_s)
            pause_s = min(pause_s * POLL_GROWTH, POLL_MAX_S)

    def _ready_checks(self) -> list[ReadyCheck]:
        environment = self._environment
        # The web process answers to its allowed names only.
        name = environment.allowed_hosts[0].lstrip("*.") or "localhost"
        metrics = environment.proxy_metrics
        checks = [
            ReadyCheck(name="web", address=environment.web_bind, path="/readyz", host_field=name),
            ReadyCheck(name="proxy", address=metrics, path="/readyz", host_field=metrics.url_host),
        ]
        if self._demo:
            address = open_listener(environment.proxy_http)
            checks.append(ReadyCheck(name="demo", address=address, path="/", host_field=DEMO_DOMAIN))
        return checks

    def _ready_block(self) -> str:
        environment = self._environment
        proxies = [f"http://{bind.url_host}" for bind in environment.proxy_http]
        proxies += [f"https://{bind.url_host}" for bind in environment.proxy_https]
        web = f"http://{environment.web_bind.url_host}"
        lines = [
            "Aegis is ready.",
            f"  Admin    {web}/admin/  (the first user is admin)",
            f"  API      {web}/api/v1/",
            f"  Proxy    {'  '.join(proxies) or 'off'}",
            f"  Metrics  http://{environment.proxy_metrics.url_host}/metrics",
            f"  Data     {environment.data_dir}",
            "Ctrl-C stops everything.",
        ]
        if self._demo:
            lines += ["", *self._demo.lines(environment), "Demo is ready."]
        return "\n".join(lines)

    @property
    def _has_private_valkey(self) -> bool:
        return self._environment.redis_url == f"unix://{self._environment.data_dir / VALKEY_SOCKET}"


def valkey_problem(path: Path) -> str:
    """Why the Valkey on a unix socket does not answer yet, or empty."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_DEADLINE_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
        except OSError as error:
            return f"valkey: {error.strerror or error}"
    return "" if answer.startswith(b"+PONG") else f"valkey: {answer.decode('ascii', 'replace').strip()}"


def announce(text: str) -> None:
    """Tell the person at the terminal."""
    show(text.encode() + b"\n", sys.stdout)


def say(name: str, line: bytes) -> None:
    """Pass on one line of a child."""
    show(prefixed(name, line), sys.stdout)


def become(*arguments: str) -> NoReturn:
    """Turn this process, whatever it has loaded, into the small one that supervises."""
    sys.stdout.flush()
    path = os.pathsep.join(filter(None, (str(BASE_DIR), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "aegis_site.instance", *arguments]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})  # noqa: S606 (a list, no shell)


def _demo(environment: Environment, address: str, *, has_zoo: bool) -> Demo:
    return Demo(environment.data_dir, BindAddress.parse(address, variable="--demo"), has_zoo)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="manage.py up")
    parser.add_argument("--demo", metavar="ADDRESS", help="where the demo upstream listens")
    parser.add_argument("--zoo", action="store_true", help="run the demo's broken upstreams as well")
    options = parser.parse_args(arguments)
    try:
        environment = read_environment()
        os.umask(PRIVATE_UMASK)
        environment.data_dir.mkdir(exist_ok=True)
        demo = _demo(environment, options.demo, has_zoo=options.zoo) if options.demo else None
        with InstanceLock(environment.data_dir):
            check_listeners_are_free(environment)
            task.react(lambda reactor: Instance(reactor=reactor, environment=environment, demo=demo).run())
    except (EnvironmentProblem, AlreadyRunning, ListenerProblem, OSError) as error:
        sys.exit(f"aegis: {error}")
    except KeyboardInterrupt:  # before the reactor has taken over
        sys.exit(130)


if __name__ == "__main__":
    main(sys.argv[1:])
