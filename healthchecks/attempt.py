"""One attempt at an upstream on an event loop: look up, connect, shake hands, ask once, read.

Laws of this module:
- It is the connection test's attempt (`upstream_tls.tls.attempt`) without a thread: the same builder, the same steps,
  the same record, so the same verdict. An http upstream skips the handshake, a TCP check ends with the connection.
- One deadline for all of it. Never raises for what the network or the peer does.
- In TLS 1.3 the verdict on our certificate arrives with the first read, so an attempt ends there and not before.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from OpenSSL import SSL

from healthchecks.answer import CheckedAnswer, Request
from upstream_tls.tls.attempt import SPOKEN_ALPN, Attempt, PeerClosed, Progress, printed
from upstream_tls.tls.context import ClientContext
from upstream_tls.tls.evidence import Stage

_READ_BYTES = 65_536
_FIRST_BYTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Where to, until when (the loop's time), and who looks names up: `getaddrinfo` knows no deadline of its own."""

    address: str
    port: int
    deadline: float
    lookups: Executor


async def attempt_tls(context: ClientContext, dial: Dial, request: Request) -> Attempt:
    """Asks once over TLS. Raises SpecProblem when the upstream's address is no name that TLS can send."""
    session = context.open(dial.address)
    record = Attempt(address=printed(dial.address, dial.port), session=session)

    async def converse(line: "_Line") -> None:
        peer = _TLSPeer(record, session, line)
        await peer.shake_hands(context)
        if record.alpn.encode("ascii", "replace") in SPOKEN_ALPN:
            await _ask(record, request, peer.send, peer.read)
            peer.say_goodbye()

    await _attempt(record, dial, converse)
    return record


async def attempt_plain(dial: Dial, request: Request | None) -> Progress:
    """Asks once without TLS; without a request, only connects."""
    record = Progress(address=printed(dial.address, dial.port))

    async def converse(line: "_Line") -> None:
        if request is None:
            record.is_broken = False
        else:
            await _ask(record, request, line.send, _reader(record, line))

    await _attempt(record, dial, converse)
    return record


async def _attempt(record: Progress, dial: Dial, converse: "Callable[[_Line], Awaitable[None]]") -> None:
    with record.broken_off():
        async with asyncio.timeout_at(dial.deadline):
            with contextlib.closing(await _connect(record, dial)) as connection:
                await converse(_Line(record, connection))


async def _connect(record: Progress, dial: Dial) -> socket.socket:
    loop = asyncio.get_running_loop()
    addresses = await _look_up(dial)
    record.stage = Stage.TCP
    failure: OSError = OSError("no address")
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        record.address = printed(address[0], dial.port)
        try:
            # An address that swallows packets must leave time for the others.
            async with asyncio.timeout((dial.deadline - loop.time()) / left):
                await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            failure = error
            continue
        except BaseException:
            connection.close()
            raise
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    raise failure


async def _look_up(dial: Dial) -> list[tuple[int, Any]]:
    """The addresses of the upstream. Raises socket.gaierror."""
    try:
        literal = ip_address(dial.address)
    except ValueError:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(dial.lookups, _addresses, dial.address, dial.port)
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    return [(family, (dial.address, dial.port))]


def _addresses(address: str, port: int) -> list[tuple[int, Any]]:
    try:
        answers = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no name that the DNS can hold") from None
    return list(dict.fromkeys((family, found) for family, _, _, _, found in answers))


class _Line:
    """The open connection: bytes there and back."""

    def __init__(self, record: Progress, connection: socket.socket) -> None:
        self._record = record
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._send_failure: OSError | None = None

    async def send(self, data: bytes) -> None:
        """An upstream that refuses us closes its end while we still talk, and its alert is there to be read: so a
        failure to send is not yet the outcome."""
        try:
            await self._loop.sock_sendall(self._connection, data)
        except OSError as error:
            self._send_failure = error

    async def receive(self) -> bytes:
        """Some bytes. Raises OSError, PeerClosed."""
        data = await self._loop.sock_recv(self._connection, _READ_BYTES)
        if not data:
            # What broke while sending says more than the end that follows it.
            raise self._send_failure or PeerClosed
        self._record.first_bytes = (self._record.first_bytes + data[:_FIRST_BYTES])[:_FIRST_BYTES]
        return data

    def send_now(self, data: bytes) -> None:
        """If it goes out without waiting."""
        with contextlib.suppress(OSError):
            self._connection.send(data)


class _TLSPeer:
    """Pumps one TLS session over the line."""

    def __init__(self, record: Attempt, session: SSL.Connection, line: _Line) -> None:
        self._record = record
        self._session = session
        self._line = line

    async def shake_hands(self, context: ClientContext) -> None:
        """The handshake as far as a client can tell."""
        self._record.stage = Stage.TLS
        while True:
            try:
                self._session.do_handshake()
                break
            except SSL.WantReadError:
                await self._flush()
                self._session.bio_write(await self._line.receive())
            except SSL.Error:
                await self._flush()  # our alert tells the upstream why
                raise
        context.confirm(self._session)
        await self._flush()
        self._record.is_established = True
        self._record.alpn = self._session.get_alpn_proto_negotiated().decode("ascii", "replace")

    async def send(self, data: bytes) -> None:
        self._session.send(data)
        await self._flush()

    async def read(self) -> bytes | None:
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
            await self._flush()  # answers to key updates
            try:
                self._session.bio_write(await self._line.receive())
            except (PeerClosed, ConnectionError):
                if self._record.got_answer_bytes:
                    return None
                raise

    def say_goodbye(self) -> None:
        """close_notify, if it goes out without waiting."""
        with contextlib.suppress(SSL.Error):
            self._session.shutdown()
            self._line.send_now(self._session.bio_read(_READ_BYTES))

    async def _flush(self) -> None:
        """What the session has to say."""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                await self._line.send(self._session.bio_read(_READ_BYTES))


def _reader(record: Progress, line: _Line) -> Callable[[], Awaitable[bytes | None]]:
    async def read() -> bytes | None:
        try:
            return await line.receive()
        except (PeerClosed, ConnectionError):
            if record.got_answer_bytes:
                return None
            raise

    return read


async def _ask(
    record: Progress,
    request: Request,
    send: Callable[[bytes], Awaitable[None]],
    read: Callable[[], Awaitable[bytes | None]],
) -> None:
    """One request, and as much of the answer as is needed."""
    record.stage = Stage.HTTP
    record.answer = answer = CheckedAnswer(request)
    await send(request.as_bytes())
    while not answer.is_complete:
        data = await read()
        if data is None:
            break  # the end of an answer that has begun
        record.got_answer_bytes = True
        answer.feed(data)
    record.is_broken = False
