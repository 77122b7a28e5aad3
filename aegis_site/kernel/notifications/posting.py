"""One POST to a receiver of notifications, over blocking sockets.

Laws of this module: one deadline for all of it, so it does not matter how slowly a receiver reads or answers; of an
answer no more is read than is shown; certificates are verified, by the system trust store; redirects are not followed:
what is secret goes to the place that was entered. No Django.
"""

import contextlib
import http.client
import io
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aegis_site.kernel.site_settings.smtp_connection import BoundedReader, Deadline, connect, look_up, shake_hands

MAX_SHOWN_BYTES = 2000
USER_AGENT = "Aegis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the receiver said: its status, the beginning of its body, and Retry-After as it came."""

    status: int
    body: str
    retry_after: str


class _Wire:
    """A socket as http.client uses it, with a deadline."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._until = deadline

    def sendall(self, data: Any) -> None:
        # That of a TLS socket would give each record all of the time.
        left = memoryview(data)
        while left:
            self._connection.settimeout(self._until.remaining_s())
            left = left[self._connection.send(left) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(BoundedReader(self._connection, self._until))

    def close(self) -> None:
        """Done by who opened it: http.client closes before the answer is read."""


def post(url: str, *, fields: dict[str, str], body: bytes, timeout_s: float) -> Answer:
    """POST `body`. Blocks for at most `timeout_s`. Raises OSError, of which ssl.SSLError is one, and HTTPException."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    deadline = Deadline(timeout_s)
    with contextlib.ExitStack() as resources:
        connection = connect(look_up(host, port, deadline), deadline)
        resources.callback(connection.close)
        if is_tls:
            connection = shake_hands(connection, _context(), host, deadline)
            resources.callback(connection.close)
        client = http.client.HTTPConnection(host, port)
        client.sock = _Wire(connection, deadline)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # Naming Host keeps http.client from adding the port that is usual without TLS, or not.
        client.request("POST", target, body, {"Host": parts.netloc, "User-Agent": USER_AGENT, **fields})
        response = resources.enter_context(client.getresponse())
        return Answer(
            status=response.status,
            body=_beginning(response),
            retry_after=response.headers.get("Retry-After", ""),
        )


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _beginning(response: http.client.HTTPResponse) -> str:
    """Whatever is wrong with the rest of an answer, its status stands."""
    try:
        return response.read1(MAX_SHOWN_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
