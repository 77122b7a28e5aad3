"""One SMTP connection over blocking sockets.

Laws of this module: one deadline for all of it, so it does not matter how slowly a server sends; what a server may send
is bounded; after STARTTLS nothing counts that was said before it. No Django.
"""

import io
import queue
import smtplib
import socket
import ssl
import threading
import time
from typing import Any

# A conversation takes less than a hundredth of it.
MAX_ANSWER_BYTES = 64 * 1024

SocketAddress = tuple[Any, ...]


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._at

    def remaining_s(self) -> float:
        """What is left, more than zero. Raises TimeoutError."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class TooMuchSaid(OSError):
    """The server sends without end."""


class Conversation(smtplib.SMTP):
    """smtplib over a connected socket. Its own time limits start anew with each octet; these do not."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        # Without a name smtplib would ask the DNS for one, for as long as that takes.
        super().__init__(local_hostname=_literal(connection))
        self._until = deadline
        self._take(connection)

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._until.remaining_s())
        super().send(s)

    def secure(self, context: ssl.SSLContext, server_name: str) -> None:
        """STARTTLS, and a handshake that verifies the server. Raises smtplib.SMTPResponseException, OSError."""
        code, answer = self.docmd("STARTTLS")
        if code != 220 or self.sock is None:
            raise smtplib.SMTPResponseException(code, answer)
        self._take(shake_hands(self.sock, context, server_name, self._until))
        # RFC 3207 section 4.2: "The client MUST discard any knowledge obtained from the server".
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def _take(self, connection: socket.socket) -> None:
        # A new reader: what an attacker put behind the answer to STARTTLS stays in the old one.
        self.sock = connection
        self.file = io.BufferedReader(BoundedReader(connection, self._until))


class BoundedReader(io.RawIOBase):
    """Reads until the deadline, and no more than MAX_ANSWER_BYTES."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._until = deadline
        self._left_bytes = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._until.remaining_s())
        count = self._connection.recv_into(buffer)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise TooMuchSaid
        return count


def look_up(host: str, port: int, deadline: Deadline) -> list[tuple[int, SocketAddress]]:
    """The addresses of a server. Raises socket.gaierror, TimeoutError."""
    # getaddrinfo knows no deadline (resolv.conf allows half a minute), so it is left behind in a thread of its own.
    found: queue.SimpleQueue[list[tuple[int, SocketAddress]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys((family, address) for family, _, _, _, address in answers)))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=ask, name="smtp-lookup", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.remaining_s())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "no name that the DNS can hold")
    if isinstance(answer, Exception):
        raise answer
    return answer


def connect(addresses: list[tuple[int, SocketAddress]], deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes one. Raises OSError."""
    failure: OSError = OSError("no address")
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            # An address that swallows packets must leave time for the others.
            connection.settimeout(deadline.remaining_s() / left)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def shake_hands(
    connection: socket.socket, context: ssl.SSLContext, server_name: str, deadline: Deadline
) -> ssl.SSLSocket:
    """TLS over a connection, which belongs to the result from then on. Raises ssl.SSLError, OSError."""
    connection.settimeout(deadline.remaining_s())
    return context.wrap_socket(connection, server_hostname=server_name)


def _literal(connection: socket.socket) -> str:
    """RFC 5321 section 4.1.4: a client without a name of its own says its address, as section 4.1.3 writes it."""
    address = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
