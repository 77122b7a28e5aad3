"""A whole Aegis, started as an operator starts it, on a data directory and ports of its own."""

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from django.conf import settings

from aegis_site.environment import BASE_DIR, DATABASE_FILE
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.processes import Process, processes_of

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 15.0
ADMIN_PASSWORD = "correct horse battery"

# What identifies each process of an instance in its command line.
_COMMANDS = {
    "up": "aegis_site.instance",
    "web": "gunicorn",
    "worker": "celery .* worker",
    "beat": "celery .* beat",
    "proxy": "manage.py runproxy",
    "valkey": "valkey-server",
    "upstream": "aegis_site.demo_upstream",
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Instance:
    """`with Instance(directory) as aegis:` starts `manage.py up`, waits until it is ready, and stops it by Ctrl-C.

    Leaving the block fails when a process is left behind. `environment` adds to or replaces the variables, `options`
    follow the command. Its first start costs seconds of migrations, so it gets a copy of one prepared data directory,
    with a token of the admin in it, unless it `is_new`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        command: str = "up",
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        is_new: bool = False,
    ) -> None:
        self._is_new = is_new
        self.data_dir = data_dir
        self.web_port, self.proxy_port, self.https_port, self.metrics_port = (free_port() for _ in range(4))
        self.variables = {
            "PATH": os.environ["PATH"],
            "AEGIS_DATA_DIR": str(data_dir),
            "AEGIS_WEB_BIND": f"127.0.0.1:{self.web_port}",
            "AEGIS_PROXY_HTTP": f"127.0.0.1:{self.proxy_port}",
            "AEGIS_PROXY_HTTPS": f"127.0.0.1:{self.https_port}",
            "AEGIS_PROXY_METRICS": f"127.0.0.1:{self.metrics_port}",
            "AEGIS_ADMIN_PASSWORD": ADMIN_PASSWORD,
            **(environment or {}),
        }
        self._command = command
        self._options = options
        self._log_path = data_dir.with_name(data_dir.name + ".log")
        self._token = ""

    def __enter__(self) -> Self:
        if not self._is_new and not (self.data_dir / DATABASE_FILE).exists():
            directory, self._token = _prepared()
            shutil.copytree(directory, self.data_dir, dirs_exist_ok=True)
        self.start()
        try:
            self.wait_until_said("Demo is ready" if self._command == "demo" else "Aegis is ready")
        except BaseException:
            self.kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self.kill_all()

    def start(self) -> None:
        """Start it and return at once."""
        self.started_at = time.monotonic()
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(BASE_DIR / "manage.py"), self._command, *self._options],
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # signals of the test run are not for it
            )

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop, wait, and check that nothing is left. The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(STOP_DEADLINE_S)
        eventually(lambda: not self.processes(), within_s=2)
        return status

    def kill_all(self) -> None:
        """Leave nothing behind, whatever happened."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait()

    def manage(self, *arguments: str, timeout_s: float = 30) -> "subprocess.CompletedProcess[str]":
        """Run another command on the same installation."""
        return subprocess.run(
            [sys.executable, str(BASE_DIR / "manage.py"), *arguments],
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def log(self) -> str:
        """All that it printed."""
        return self._log_path.read_text(errors="replace")

    def wait_until_said(self, text: str, within_s: float = START_DEADLINE_S) -> None:
        """Wait until it printed `text`. Fails early when it ends."""

        def said() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log[-5000:]}"
            return text in self.log

        try:
            eventually(said, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-5000:]}") from None

    def processes(self) -> list[Process]:
        """All processes of this instance."""
        return processes_of(self.data_dir)

    def find(self, name: str) -> Process | None:
        """One process by its role (`up`, `web`, `worker`, `beat`, `proxy`, `valkey`, `upstream`), if it runs now."""
        found = [process for process in self.processes() if re.search(_COMMANDS[name], process.command)]
        pids = {process.pid for process in found}
        # gunicorn has a child of the same command line; the role is the parent's.
        return next((process for process in found if process.parent_pid not in pids), None)

    def signal(self, name: str, number: int) -> int:
        """Send a signal to the process of a role. Its process id."""
        process = self.find(name)
        assert process is not None, f"{name} does not run"
        os.kill(process.pid, number)
        return process.pid

    # HTTP

    def web(self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Ask the admin's process."""
        return request(self.web_port, path, method=method, body=body, headers=headers)

    def metrics(self, path: str = "/metrics") -> Answer:
        """Ask the proxy's own listener."""
        return request(self.metrics_port, path)

    def proxy(self, host: str, path: str = "/", method: str = "GET", body: bytes | None = None) -> Answer:
        """Send a request through the proxy, on a connection of its own."""
        return request(self.proxy_port, path, method=method, body=body, headers={"Host": host})

    def api(self, method: str, path: str, document: Any = None) -> Answer:
        """Ask the API as the admin. `path` is relative to /api/v1/."""
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        return self.web(f"/api/v1/{path}", method=method, body=body, headers=headers)

    @property
    def token(self) -> str:
        """An API token of the admin; made by the first call, which takes a second."""
        if not self._token:
            made = self.manage("create_api_token", "--user", "admin")
            assert made.returncode == 0, made.stderr
            self._token = made.stdout.strip()
        return self._token

    def create_host(self, **document: Any) -> dict[str, Any]:
        """A proxy host, made through the API."""
        answer = self.api("POST", "hosts", document)
        assert answer.status == http.HTTPStatus.CREATED, answer.body
        created: dict[str, Any] = answer.json
        return created


@functools.cache
def _prepared() -> tuple[Path, str]:
    """A data directory after its first start, made once in a test process, and an API token of its admin."""
    # In what `tests/conftest.py` removes at the end.
    model = Instance(Path(tempfile.mkdtemp(prefix="prepared-", dir=settings.AEGIS_DATA_DIR)) / "data")
    done = model.manage("prepare", timeout_s=START_DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return model.data_dir, model.token


def request(
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 10,
) -> Answer:
    """One HTTP request to 127.0.0.1 on a connection of its own. Raises OSError when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(status=response.status, body=response.read(), headers=response.getheaders())
    finally:
        connection.close()
