"""Several proxy workers on the same ports: `manage.py runproxy` becomes this process when it is to run more than one.

Laws of this module:
- No Django is imported, so that the process that waits all day stays small.
- It opens the ports, one listening socket for each worker and address, and keeps them: what waits in a socket when its
  worker dies is served by the successor (docs/adr/0016).
- It answers on AEGIS_PROXY_METRICS for all of them and never touches traffic.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from socket import socket
from typing import Any, NoReturn

from twisted.internet import defer, task

from aegis_site import processes
from aegis_site.environment import BASE_DIR, MAX_PROCESSES, MAX_SOCKET_PATH_BYTES, Environment, read_environment
from aegis_site.listeners import ListenerProblem, explained, listening_socket, shared_sockets
from aegis_site.stop_signals import StopSignals
from aegis_site.supervisor import Say, Supervisor
from aegis_site.terminal import prefixed, show
from proxyworker.management_server import management_site
from proxyworker.worker_group import WorkerGroup, management_path


class ProxyGroup:
    """The running group. `sockets` holds those of each worker, in the order of AEGIS_PROXY_HTTP, AEGIS_PROXY_HTTPS."""

    def __init__(
        self,
        *,
        reactor: Any,
        environment: Environment,
        variables: Mapping[str, str],
        directory: Path,
        sockets: list[list[socket]],
        management: socket,
    ) -> None:
        self._reactor = reactor
        self._environment = environment
        self._variables = variables
        self._directory = directory
        self._sockets = sockets
        self._management = management
        self._supervisor = Supervisor(reactor=reactor, say=say_as(environment.log_format))
        self._signals = StopSignals(reactor=reactor, insist=self._supervisor.kill)
        self._workers = WorkerGroup(reactor=reactor, directory=directory, count=len(sockets))

    async def run(self) -> None:
        """Start all workers, answer for them, wait for a signal, stop them."""
        self._reactor.callWhenRunning(self._signals.take)
        site = management_site(
            problem=lambda: defer.ensureDeferred(self._problem()),
            metrics=lambda: defer.ensureDeferred(self._workers.metrics()),
        )
        self._management.setblocking(False)
        self._reactor.adoptStreamPort(self._management.fileno(), self._management.family, site)
        for number, own in enumerate(self._sockets, 1):
            descriptors = tuple(each.fileno() for each in own)
            self._supervisor.start(
                processes.proxy_worker(self._environment, number, self._directory, descriptors, self._variables)
            )
        await self._signals.wish
        # The workers hold them as long as they accept; here, connections would wait for nobody.
        for own in self._sockets:
            for each in own:
                each.close()
        await self._supervisor.stop()

    async def _problem(self) -> str:
        return "the workers are stopping" if self._signals.is_stop_requested else await self._workers.problem()


def open_sockets(environment: Environment) -> list[list[socket]]:
    """For each worker a socket on each address of AEGIS_PROXY_HTTP and AEGIS_PROXY_HTTPS. Raises ListenerProblem."""
    addresses = [("AEGIS_PROXY_HTTP", address) for address in environment.proxy_http]
    addresses += [("AEGIS_PROXY_HTTPS", address) for address in environment.proxy_https]
    with ExitStack() as opened:
        shared = []
        for variable, address in addresses:
            shared.append(shared_sockets(variable, address, count=environment.proxy_processes))
            for each in shared[-1]:
                opened.enter_context(each)
        opened.pop_all()
    return [[sockets[worker] for sockets in shared] for worker in range(environment.proxy_processes)]


def check_length(directory: Path) -> None:
    """Raises ListenerProblem when the sockets of the workers would not fit into `directory`."""
    longest = management_path(directory, MAX_PROCESSES)
    if len(os.fsencode(longest)) > MAX_SOCKET_PATH_BYTES:
        raise ListenerProblem(f"TMPDIR is too long: {longest} may have {MAX_SOCKET_PATH_BYTES} bytes")


def say_as(log_format: str) -> Say:
    """Passes on the lines of the workers: for people with the worker's name before each, as JSON one object a line."""
    return _say_json if log_format == "json" else _say


def _say(name: str, line: bytes) -> None:
    show(prefixed(name, line), sys.stderr)


def _say_json(name: str, line: bytes) -> None:
    if not line.startswith(b"{"):
        event = line.decode("utf-8", "replace")
        line = json.dumps({"event": event, "level": "warning", "logger": f"aegis.proxy_group.{name}"}).encode()
    show(line + b"\n", sys.stderr)


def become() -> NoReturn:
    """Turn this process, whatever it has loaded, into the small one that supervises."""
    sys.stdout.flush()
    path = os.pathsep.join(filter(None, (str(BASE_DIR), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "aegis_site.proxy_group"]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})  # noqa: S606 (a list, no shell)


def main() -> None:
    environment = read_environment()
    metrics = environment.proxy_metrics
    try:
        with tempfile.TemporaryDirectory(prefix="aegis-proxy-") as directory:
            check_length(Path(directory))
            with explained("AEGIS_PROXY_METRICS", metrics):
                management = listening_socket(metrics, backlog=64)
            task.react(
                lambda reactor: ProxyGroup(
                    reactor=reactor,
                    environment=environment,
                    variables=os.environ,
                    directory=Path(directory),
                    sockets=open_sockets(environment),
                    management=management,
                ).run()
            )
    except (ListenerProblem, OSError) as error:
        sys.exit(f"aegis: {error}")
    except KeyboardInterrupt:  # before the reactor has taken over
        sys.exit(130)


if __name__ == "__main__":
    main()
