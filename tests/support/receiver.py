"""Receivers of webhooks on loopback: they keep what comes, and answer what a test wants."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.certificates import Leaf
from tests.support.smtp import server_context


@dataclass
class Received:
    """One request."""

    path: str
    fields: Message
    body: bytes


@dataclass
class Receiver:
    """What came, and what is answered: `status`, `fields` and `body`."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    status: int = 204
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@contextlib.contextmanager
def receiver(*, leaf: Leaf | None = None, **answer: Any) -> Iterator[Receiver]:
    """A server on 127.0.0.1, with TLS if it has a certificate."""
    state = Receiver(**answer)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append(Received(path=self.path, fields=self.headers, body=body))
            self.send_response(state.status)
            for name, value in {"Content-Length": str(len(state.body)), **state.fields}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not trust us ends the handshake."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if leaf is not None:
            context: ssl.SSLContext = server_context(leaf)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
