"""An upstream that can be killed: a process of its own, which answers every GET with its name.

`python -m tests.proxyworker.upstream_process PORT NAME` is that process.
"""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from aegis_site.environment import BASE_DIR
from tests.support.ports import free_port


class UpstreamProcess:
    """Has a port from the beginning and a process between `start` and `kill`, as often as wanted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.proxyworker.upstream_process", str(self.port), self.name],
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    def kill(self) -> None:
        """Whatever it does just now."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        # In one piece: killed in the middle of an answer, it would have failed a request that nobody can repeat.
        body = sys.argv[2].encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def log_message(self, *_: object) -> None:
        """Not worth a line."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    print("listening", flush=True)  # noqa: T201 (its parent waits for it)
    server.serve_forever()


if __name__ == "__main__":
    main()
