"""Upstreams that speak no TLS."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def answering(content: bytes | None) -> Iterator[int]:
    """An upstream without TLS that reads a request and sends `content`; None: it says nothing. Yields its port."""
    connections: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            if content is not None:
                connection.recv(65_536)
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    for connection in connections:
        connection.close()
