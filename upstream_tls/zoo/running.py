"""Runs members of the zoo: a listener on loopback and its threads for each.

Laws of this module: what a member does to a connection, and what a client does to a member, ends with the connection.
Leaving `run_zoo` closes every socket and wakes every thread.
"""

import contextlib
import datetime
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from OpenSSL import SSL

from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.zoo.member import ADDRESS, Member
from upstream_tls.zoo.members import members
from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.servers import Behaviour, Stop

_BACKLOG = 64
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A member that can be tested at `address` and `port` with the settings `spec`."""

    member: Member
    address: str
    port: int
    spec: UpstreamTLSSpec = field(repr=False)


@contextlib.contextmanager
def run_zoo(
    names: Sequence[str] | None = None, *, pki: PKI | None = None, ports: Mapping[str, int] | None = None
) -> Iterator[dict[str, Running]]:
    """`with run_zoo() as zoo:` runs the named members, or all, until the end of the block.

    `pki`: certificates that another process knows as well; without it, new ones. `ports`: where members listen; those
    not named listen on any free port. Raises KeyError for an unknown name, OSError for a port that is taken.
    """
    known = {member.name: member for member in members()}
    wanted = [known[name] for name in (known if names is None else names)]
    pki = pki or new_pki()
    stop = Stop()
    with contextlib.ExitStack() as resources:
        resources.callback(stop.set)
        yield {
            member.name: Running(
                member=member,
                address=member.address,
                port=resources.enter_context(_listening(member, pki, (ports or {}).get(member.name, 0), stop)),
                spec=member.spec(pki),
            )
            for member in wanted
        }


def new_pki() -> PKI:
    """Certificates that no other process has."""
    return PKI(secrets.token_bytes(32), datetime.datetime.now(datetime.UTC))


@contextlib.contextmanager
def _listening(member: Member, pki: PKI, port: int, stop: Stop) -> Iterator[int]:
    """The port of a member. One that nobody listens on is kept bound, so that nobody else takes it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        if member.behaviour is not None:
            listener.listen(_BACKLOG)
            server = _Server(listener, member.behaviour(pki), stop)
            threading.Thread(target=server.serve, name=f"zoo-{member.name}", daemon=True).start()
            try:
                yield listener.getsockname()[1]
            finally:
                server.close()
        else:
            yield listener.getsockname()[1]


class _Server:
    """Accepts connections and gives each to the behaviour, in a thread of its own."""

    def __init__(self, listener: socket.socket, behaviour: Behaviour, stop: Stop) -> None:
        self._listener = listener
        self._behaviour = behaviour
        self._stop = stop
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._attend, args=(connection,), name="zoo-attend", daemon=True).start()

    def close(self) -> None:
        """Wakes the accepting thread and all that wait for a peer."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection:
                with contextlib.suppress(OSError, SSL.Error):
                    self._behaviour(connection, self._stop)
                with contextlib.suppress(OSError):
                    _leave(connection)
        finally:
            with self._lock:
                self._open.discard(connection)


def _leave(connection: socket.socket) -> None:
    """Closes in order: what the peer still sends is taken, or it would get a reset in place of our last words."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(_LAST_WORDS_S)
    while connection.recv(65_536):
        pass
