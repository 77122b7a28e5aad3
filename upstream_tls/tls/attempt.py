"""One attempt at an upstream over blocking sockets: look up, connect, shake hands, ask once, read.

Laws of this module:
- One deadline for all of it. Every wait is bounded by what is left, so it does not matter how slowly a peer sends.
- Never raises for what the network or the peer does: the outcome is an `Attempt`, broken off wherever it was.
- In TLS 1.3 the verdict on our certificate arrives with the first read, so an attempt ends there and not before.
"""

import contextlib
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from OpenSSL import SSL

from upstream_tls.tls.answer import Answer, request_bytes
from upstream_tls.tls.context import ClientContext
from upstream_tls.tls.evidence import Stage
from upstream_tls.tls.result import ProbeTarget

_READ_BYTES = 65_536
_FIRST_BYTES = 5

# What Aegis speaks to upstreams. An upstream that chose something else would not understand the request.
SPOKEN_ALPN = frozenset((b"", b"http/1.1", b"http/1.0"))

SocketAddress = tuple[Any, ...]


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """What is left, more than zero. Raises TimeoutError."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class PeerClosed(Exception):
    """EOF, or close_notify, where more was expected."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far an attempt came. `stage` is the last one begun; `milliseconds` has those that ended."""

    address: str
    stage: Stage = Stage.DNS
    milliseconds: dict[str, int] = field(default_factory=dict)
    first_bytes: bytes = b""
    is_established: bool = False
    alpn: str = ""
    answer: Answer | None = None
    got_answer_bytes: bool = False
    peer_closed: bool = False
    errno: int | None = None
    lookup_error: int | None = None
    timed_out: bool = False
    is_broken: bool = True

    @contextlib.contextmanager
    def broken_off(self) -> Iterator[None]:
        """Notes why the block ended early. Nothing that the network or the peer does is raised."""
        try:
            yield
        except socket.gaierror as error:
            self.lookup_error = error.errno
        except TimeoutError:
            self.timed_out = True
        except PeerClosed:
            self.peer_closed = True
        except OSError as error:
            self.errno = error.errno
        except Exception:  # noqa: BLE001, S110 (OpenSSL's errors, and what a callback raised over a hostile certificate)
            pass  # whatever it was, it was a refusal, and the callbacks have noted which

    @property
    def is_silent_end(self) -> bool:
        """The upstream ended the connection in or after the handshake, before it said anything in HTTP."""
        return (
            (self.peer_closed or self.errno is not None)
            and self.stage in (Stage.TLS, Stage.HTTP)
            and not self.got_answer_bytes
        )


@dataclass(slots=True, kw_only=True)
class Attempt(Progress):
    """What became of one attempt over TLS."""

    session: SSL.Connection


def attempt(context: ClientContext, target: ProbeTarget, deadline: Deadline) -> Attempt:
    """Tries once. Raises SpecProblem when the upstream's address is no name that TLS can send."""
    session = context.open(target.address)
    record = Attempt(address=printed(target.address, target.port), session=session)
    with record.broken_off(), contextlib.closing(_connect(record, target, deadline)) as connection:
        peer = _Peer(record, session, connection, deadline)
        peer.shake_hands(context)
        if record.alpn.encode("ascii", "replace") in SPOKEN_ALPN:
            peer.ask(target)
            record.is_broken = False
    return record


def _connect(record: Attempt, target: ProbeTarget, deadline: Deadline) -> socket.socket:
    begun = time.monotonic()
    addresses = _look_up(target, deadline)
    record.milliseconds["dns_ms"] = _ms_since(begun)
    record.stage = Stage.TCP
    begun = time.monotonic()
    failure: OSError = OSError("no address")
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        connection = socket.socket(family, socket.SOCK_STREAM)
        record.address = printed(address[0], target.port)
        try:
            # An address that swallows packets must leave time for the others.
            connection.settimeout(deadline.remaining_s() / left)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        record.milliseconds["tcp_ms"] = _ms_since(begun)
        return connection
    raise failure


def _look_up(target: ProbeTarget, deadline: Deadline) -> list[tuple[int, SocketAddress]]:
    """The addresses of the upstream. Raises socket.gaierror, TimeoutError."""
    if _is_literal(target.address):
        return _addresses(target)
    # getaddrinfo knows no deadline (resolv.conf allows half a minute), so it is left behind in a thread of its own.
    found: queue.SimpleQueue[list[tuple[int, SocketAddress]] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(_addresses(target))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=look_up, name="probe-lookup", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.remaining_s())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "no name that the DNS can hold")
    if isinstance(answer, Exception):
        raise answer
    return answer


def _addresses(target: ProbeTarget) -> list[tuple[int, SocketAddress]]:
    answers = socket.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in answers))


class _Peer:
    """The connected upstream: pumps one TLS session over one socket."""

    def __init__(self, record: Attempt, session: SSL.Connection, connection: socket.socket, deadline: Deadline) -> None:
        self._record = record
        self._session = session
        self._connection = connection
        self._deadline = deadline
        self._send_failure: OSError | None = None

    def shake_hands(self, context: ClientContext) -> None:
        """The handshake as far as a client can tell."""
        self._record.stage = Stage.TLS
        begun = time.monotonic()
        while True:
            try:
                self._session.do_handshake()
                break
            except SSL.WantReadError:
                self._flush()
                self._receive()
            except SSL.Error:
                self._flush()  # our alert tells the upstream why
                raise
        context.confirm(self._session)
        self._flush()
        self._record.is_established = True
        self._record.milliseconds["tls_ms"] = _ms_since(begun)
        self._record.alpn = self._session.get_alpn_proto_negotiated().decode("ascii", "replace")

    def ask(self, target: ProbeTarget) -> None:
        """One request, and as much of the answer as is needed."""
        record = self._record
        record.stage = Stage.HTTP
        answer = record.answer = Answer()
        self._session.send(request_bytes(target.host_field, target.path))
        begun = time.monotonic()
        self._flush()
        while not answer.is_complete:
            data = self._read()
            if data is None:
                return  # the end of an answer that has begun
            if not record.got_answer_bytes:
                record.got_answer_bytes = True
                record.milliseconds["first_byte_ms"] = _ms_since(begun)
            answer.feed(data)
        self._say_goodbye()

    def _read(self) -> bytes | None:
        """Some plaintext; None at the end, when there was some before."""
        while True:
            try:
                return self._session.recv(_READ_BYTES)
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                if self._record.got_answer_bytes:
                    return None
                raise PeerClosed from None
            self._flush()  # answers to key updates
            try:
                self._receive()
            except (PeerClosed, ConnectionError):
                if self._record.got_answer_bytes:
                    return None
                raise

    def _receive(self) -> None:
        """Some bytes from the wire into the session. Raises TimeoutError, OSError, PeerClosed."""
        self._connection.settimeout(self._deadline.remaining_s())
        data = self._connection.recv(_READ_BYTES)
        if not data:
            # What broke while sending says more than the end that follows it.
            raise self._send_failure or PeerClosed
        self._record.first_bytes = (self._record.first_bytes + data[:_FIRST_BYTES])[:_FIRST_BYTES]
        self._session.bio_write(data)

    def _flush(self) -> None:
        """What the session has to say. An upstream that refuses us closes its end while we still talk, and its alert
        is there to be read: so a failure to send is not yet the outcome."""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                data = self._session.bio_read(_READ_BYTES)
                self._connection.settimeout(self._deadline.remaining_s())
                try:
                    self._connection.sendall(data)
                except TimeoutError:
                    raise
                except OSError as error:
                    self._send_failure = error

    def _say_goodbye(self) -> None:
        """close_notify, if it goes out without waiting."""
        with contextlib.suppress(SSL.Error, OSError):
            self._session.shutdown()
            self._connection.setblocking(False)
            self._connection.send(self._session.bio_read(_READ_BYTES))


def _is_literal(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def printed(address: str, port: int) -> str:
    """Address and port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
