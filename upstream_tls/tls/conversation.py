"""One attempt at an upstream, from its name to its answer, without sockets: what to do next, and what came of it.

Laws of this module:
- Connection tests and health checks hold this very conversation and differ in who carries its steps out: blocking
  sockets (`upstream_tls.tls.attempt`) or an event loop (`healthchecks.attempt`). So they cannot see different things.
- The order of the steps is look up, connect, shake hands, ask once, read. An http upstream skips the handshake, and
  without a question the conversation ends with the connection.
- One deadline for all of it: every step says how long it may take, and none begins when the time is up.
- Whatever the network or the peer does is no exception here but an outcome, noted in the record.
- In TLS 1.3 the verdict on our certificate arrives with the first read, so a conversation ends there and not before.
- No sockets, no threads, no event loop; time is told by the clock of the deadline.
"""

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from OpenSSL import SSL

from upstream_tls.tls.answer import Answer
from upstream_tls.tls.context import ClientContext
from upstream_tls.tls.evidence import Stage

READ_BYTES = 65_536
_FIRST_BYTES = 5

SocketAddress: TypeAlias = tuple[Any, ...]
Addresses: TypeAlias = list[tuple[int, SocketAddress]]


class Deadline:
    """A moment after which nobody waits any longer; `clock` gives monotonic seconds."""

    def __init__(self, timeout_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.at = clock() + timeout_s

    def remaining_s(self) -> float:
        """What is left, more than zero. Raises TimeoutError."""
        left = self.at - self.clock()
        if left <= 0:
            raise TimeoutError
        return left


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find the addresses of a name; the outcome are `Addresses`, or socket.gaierror."""

    within_s: float
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection."""

    within_s: float
    family: int
    address: SocketAddress


@dataclass(frozen=True, slots=True)
class Send:
    """Send all of it. `is_last_word`: only what goes out without waiting, and nobody minds when it does not."""

    within_s: float
    data: bytes
    is_last_word: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for bytes, at most READ_BYTES; none are the end."""

    within_s: float


Step: TypeAlias = LookUp | Connect | Send | Receive
Steps: TypeAlias = Generator[Step, Any, None]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The one request, and what takes its answer."""

    request: bytes
    answer: Answer


class Conversation:
    """With an upstream without TLS; without a question it ends with the connection."""

    def __init__(self, address: str, port: int, question: Question | None, deadline: Deadline) -> None:
        self.record = Progress(address=_printed(address, port))
        self.deadline = deadline
        self._name = address
        self._port = port
        self._question = question
        self._send_failure: OSError | None = None

    def steps(self) -> Steps:
        """What to do, step by step; the outcome of each is sent in, an OSError thrown in. To be asked for once."""
        with self.record.broken_off():
            yield from self._connect()
            yield from self._talk()
            self.record.is_broken = False

    def _talk(self) -> Steps:
        if self._question is not None:
            yield from self._ask(self._question)

    # Connecting

    def _connect(self) -> Steps:
        begun = self.deadline.clock()
        addresses = _literal(self._name, self._port)
        if addresses is None:
            addresses = yield LookUp(self.deadline.remaining_s(), self._name, self._port)
        self._note_time("dns_ms", begun)
        self.record.stage = Stage.TCP
        begun = self.deadline.clock()
        failure: OSError = OSError("no address")
        for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
            self.record.address = _printed(address[0], self._port)
            # An address that swallows packets must leave time for the others.
            within_s = self.deadline.remaining_s() / left
            try:
                yield Connect(within_s, family, address)
            except OSError as error:
                failure = error
                continue
            self._note_time("tcp_ms", begun)
            return
        raise failure

    # Asking

    def _ask(self, question: Question) -> Steps:
        """One request, and as much of the answer as is needed."""
        record = self.record
        record.stage = Stage.HTTP
        answer = record.answer = question.answer
        begun = self.deadline.clock()
        yield from self._send(question.request)
        while not answer.is_complete:
            try:
                data = yield from self._read()
            except (PeerClosed, ConnectionError):
                if answer.status is not None:
                    return  # what matters of it was there
                raise
            if not record.got_answer_bytes:
                record.got_answer_bytes = True
                self._note_time("first_byte_ms", begun)
            answer.feed(data)

    def _send(self, data: bytes) -> Steps:
        yield from self._write(data)

    def _read(self) -> Generator[Step, Any, bytes]:
        """Some of the answer, never empty. Raises OSError, PeerClosed."""
        return (yield from self._receive())

    # The connection: bytes there and back

    def _write(self, data: bytes) -> Steps:
        """An upstream that refuses us closes its end while we still talk, and its alert is there to be read: so a
        failure to send is not yet the outcome."""
        try:
            yield Send(self.deadline.remaining_s(), data)
        except TimeoutError:
            raise
        except OSError as error:
            self._send_failure = error

    def _receive(self) -> Generator[Step, Any, bytes]:
        data: bytes = yield Receive(self.deadline.remaining_s())
        if not data:
            # What broke while sending says more than the end that follows it.
            raise self._send_failure or PeerClosed
        self.record.first_bytes = (self.record.first_bytes + data[:_FIRST_BYTES])[:_FIRST_BYTES]
        return data

    def _note_time(self, name: str, begun: float) -> None:
        self.record.milliseconds[name] = round((self.deadline.clock() - begun) * 1000)


class TLSConversation(Conversation):
    """With an upstream over TLS. Raises SpecProblem when its address is no name that TLS can send."""

    record: Attempt

    def __init__(self, context: ClientContext, address: str, port: int, question: Question, deadline: Deadline) -> None:
        super().__init__(address, port, question, deadline)
        self._context = context
        self._session = context.open(address)
        self.record = Attempt(address=self.record.address, session=self._session)

    def _talk(self) -> Steps:
        yield from self._shake_hands()
        yield from super()._talk()
        yield from self._say_goodbye()

    def _shake_hands(self) -> Steps:
        """The handshake as far as a client can tell."""
        self.record.stage = Stage.TLS
        begun = self.deadline.clock()
        while True:
            try:
                self._session.do_handshake()
                break
            except SSL.WantReadError:
                yield from self._flush()
                self._session.bio_write((yield from self._receive()))
            except SSL.Error:
                yield from self._flush()  # our alert tells the upstream why
                raise
        yield from self._flush()
        self.record.is_established = True
        self._note_time("tls_ms", begun)
        self.record.alpn = self._session.get_alpn_proto_negotiated().decode("ascii", "replace")
        self._context.confirm(self._session)

    def _send(self, data: bytes) -> Steps:
        self._session.send(data)
        yield from self._flush()

    def _read(self) -> Generator[Step, Any, bytes]:
        while True:
            try:
                return self._session.recv(READ_BYTES)
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                raise PeerClosed from None
            yield from self._flush()  # answers to key updates
            self._session.bio_write((yield from self._receive()))

    def _flush(self) -> Steps:
        """What the session has to say."""
        while (data := self._pending()) is not None:
            yield from self._write(data)

    def _pending(self) -> bytes | None:
        try:
            return self._session.bio_read(READ_BYTES)
        except SSL.WantReadError:
            return None

    def _say_goodbye(self) -> Steps:
        """close_notify, if it goes out without waiting."""
        with contextlib.suppress(SSL.Error, OSError):
            self._session.shutdown()
            yield Send(0.0, self._session.bio_read(READ_BYTES), is_last_word=True)


def addresses_of(name: str, port: int) -> Addresses:
    """Asks the resolver, which knows no deadline: resolv.conf allows half a minute. Blocks. Raises socket.gaierror."""
    try:
        answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no name that the DNS can hold") from None
    return list(dict.fromkeys((family, found) for family, _, _, _, found in answers))


def _printed(address: str, port: int) -> str:
    """Address and port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _literal(name: str, port: int) -> Addresses | None:
    """The address that `name` is; None: it has to be looked up, as also a scope (RFC 4007 section 11) has to be."""
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        return None
    if "%" in name:
        return None
    return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (name, port))]
