"""A WebSocket server that demands a client certificate, for tests on real sockets."""

import contextlib
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.support.certificates import Leaf


def server_context(directory: Path, server: Leaf, client_ca_pem: str) -> ssl.SSLContext:
    """A server's context; the standard library reads certificates from files only."""
    pair, authority = directory / "server.pem", directory / "clients.pem"
    pair.write_text(server.chain_pem + server.key_pem)
    authority.write_text(client_ca_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class WebSocketUpstream:
    """`with WebSocketUpstream(context) as upstream:` sends every message back, in threads.

    The message `close 4001` makes it close with that code. `close_codes` are the codes that clients closed with.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.close_codes: list[int | None] = []
        self._server = serve(
            self._answer, "127.0.0.1", 0, ssl=context, max_size=None, compression=None, ping_interval=None
        )
        self.port: int = self._server.socket.getsockname()[1]

    def _answer(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    connection.close(int(message.removeprefix("close ")), "as asked")
                else:
                    connection.send(message)
        self.close_codes.append(connection.close_code)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
