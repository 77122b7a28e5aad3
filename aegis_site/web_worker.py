"""gunicorn's worker with threads, made safe against clients that are slow, on purpose or not.

Laws of this module:
- A thread is given to a request, not to a connection: the poller collects the header section, so a client that sends
  half of one holds no thread (gunicorn's own worker waits in a thread, for ever, before anybody has signed in).
- A thread that waits for a client does so for a while (`aegis_site.client_socket`); then the connection is shut down,
  which ends a stream, and with it the transaction behind it.
- The poller itself never waits for a client: gunicorn's lingers two seconds for each connection that it closes.
"""

import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from aegis_site.client_socket import ClientSocket

# From the first byte, or the connection, to the end of the header section.
HEAD_S = 10.0
# More than a browser's with all cookies. What is longer is left to the parser, which has limits of its own.
MAX_HEAD_BYTES = 32 * 1024
# RFC 9112 section 9.6: what a client still sends is read for a while, so that no reset overtakes the answer.
LINGER_S = 2.0
MAX_LINGER_BYTES = 64 * 1024

_HEAD_END = b"\r\n\r\n"
_READ = selectors.EVENT_READ


class Connection(TConn):
    """A client's connection. It closes itself by way of its worker."""

    def __init__(self, worker: "WebWorker", client_socket: ClientSocket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, client_socket, client, server)
        self._worker = worker
        self.head = bytearray()
        self.drained_bytes = 0

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.linger(self)
        else:
            util.close(self.sock)


class WebWorker(ThreadWorker):
    """To be named as `worker_class`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_threads: set[Connection] = set()
        self._lingering: deque[Connection] = deque()

    def accept(self, listener: Any) -> None:
        try:
            accepted, client = listener.accept()
        except OSError:  # it went away again; another worker of a shared listener was faster
            return
        self.nr_conns += 1
        self.enqueue_req(Connection(self, ClientSocket(fileno=accepted.detach()), client, listener.getsockname()))

    def enqueue_req(self, conn: Connection) -> None:
        """A connection may have a request; it gets a thread when the header section is there."""
        conn.init()
        conn.sock.setblocking(False)
        conn.data_ready = True
        conn.head = bytearray(conn.parser.unreader.take_buffered())
        conn.timeout = time.monotonic() + HEAD_S
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, _READ, partial(self.on_pending_socket_readable, conn))
        self.on_pending_socket_readable(conn, conn.sock)

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        """More of a header section."""
        try:
            data = b"" if _is_complete(conn.head) else conn.sock.recv(MAX_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop_pending(conn)
            return
        conn.head += data
        if _is_complete(conn.head):
            self._give_thread(conn)
        elif not data:
            self._drop_pending(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        self._in_threads.discard(conn)
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Also what gunicorn does not look after: connections that are in a thread, and that linger."""
        now = time.monotonic()
        for conn in list(self.pending_conns):
            # A stopping worker waits for requests that have begun, not for a browser's spare connections.
            if conn.timeout <= now or not (self.alive or conn.head):
                self._drop_pending(conn)
        while self._lingering and self._lingering[0].timeout <= now:
            self._end_linger(self._lingering[0])
        for conn in self._in_threads:
            if conn.sock.is_overdue(now):
                # Its thread reads an end, or cannot write any more.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def linger(self, conn: Connection) -> None:
        """Close a connection in steps, without waiting."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            util.close(conn.sock)
            return
        self.nr_conns += 1
        conn.timeout = time.monotonic() + LINGER_S
        self._lingering.append(conn)
        self.poller.register(conn.sock, _READ, partial(self._drain, conn))

    def _give_thread(self, conn: Connection) -> None:
        self._forget_pending(conn)
        conn.parser.unreader.unread(bytes(conn.head))
        conn.head.clear()
        conn.sock.begin()
        self._in_threads.add(conn)
        super().enqueue_req(conn)

    def _drop_pending(self, conn: Connection) -> None:
        self._forget_pending(conn)
        self.nr_conns -= 1
        util.close(conn.sock)

    def _forget_pending(self, conn: Connection) -> None:
        self.pending_conns.remove(conn)
        self.poller.unregister(conn.sock)

    def _drain(self, conn: Connection, client: Any) -> None:
        try:
            data = conn.sock.recv(MAX_LINGER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.drained_bytes += len(data)
        if not data or conn.drained_bytes > MAX_LINGER_BYTES:
            self._end_linger(conn)

    def _end_linger(self, conn: Connection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        util.close(conn.sock)


def _is_complete(head: bytearray) -> bool:
    """Whether a thread would not have to wait for more: gunicorn's parser refuses empty lines in front."""
    return len(head) > MAX_HEAD_BYTES or _HEAD_END in head
