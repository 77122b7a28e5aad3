"""Clients, upstreams and operators who do anything at any time, around a data plane in memory.

Laws of this module: only `Random` decides. Every request has a target of its own, and whoever answers it says that
target in its head and repeats it through its body, so that a byte of somebody else's answer shows.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address

from proxyworker.net.doors import Door
from proxyworker.net.pool import UpstreamPool
from proxyworker.policy.admission import Admission
from proxyworker.policy.health import UpstreamState
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.trusted_proxies import TrustedProxies
from proxyworker.protocol.body import BodyReader, ChunkedReader, LengthReader, chunk
from proxyworker.protocol.response import parse_response, reader_for
from proxyworker.snapshot import Deadlines, HeaderRule, HostEntry, HostLimits
from tests.proxyworker.net.memory import Attempt, Dialler, MemoryTransport
from tests.proxyworker.net.proxy import MemoryProxy, entry, upstream

TRUSTED = TrustedProxies(["10.0.0.1"])
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
# A worker's own answers have this field, those of an upstream the other one.
OWN, ECHO = b"Cache-Control: no-store", b"X-Echo: "
LONG_S = 400.0


class Request:
    """What a client asks."""

    def __init__(self, random: Random, name: bytes) -> None:
        self.target = b"/" + name
        self.method = random.choice((b"GET", b"GET", b"HEAD", b"POST", b"POST", b"PUT"))
        self.is_websocket = random.random() < 0.15
        version = random.choice((b"1.1",) * 8 + (b"1.0",))
        lines = [b"Host: " + random.choice((b"one.test",) * 4 + (b"two.test",) * 6 + (b"nobody.test",))]
        body = b""
        if self.is_websocket:
            self.method, version = b"GET", b"1.1"
            lines.append(UPGRADE[:-2])
        elif self.method in (b"POST", b"PUT"):
            content = self.target * random.choice((1, 5, 3000, 12_000))
            if version == b"1.1" and random.random() < 0.5:
                lines += [b"Transfer-Encoding: chunked", b"Trailer: X-Sum"]
                body = chunk(content) + b"0\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n"
            else:
                lines.append(b"Content-Length: %d" % len(content))
                body = content
            if random.random() < 0.2:
                lines.append(b"Expect: 100-continue")
        lines += random.choice(([], [], [b"TE: trailers", b"Connection: TE"], [b"X-Request-ID: own"]))
        if version == b"1.0" and random.random() < 0.5:
            lines.append(b"Connection: keep-alive")
        elif random.random() < 0.05:
            lines.append(b"Connection: close")
        start = b"%b %b HTTP/%b" % (self.method, self.target, version)
        self.data = b"\r\n".join((start, *lines, b"", b"")) + body


class WireClient:
    """One client: sends its requests cut anywhere, and keeps what it gets."""

    def __init__(self, world: "World", number: int) -> None:
        random = world.random
        self.requests = [Request(random, b"c%d-r%d-" % (number, index)) for index in range(random.randint(1, 4))]
        self._unsent = b"".join(request.data for request in self.requests)
        if random.random() < 0.15:
            self._unsent += random.choice(
                (b"\nHEAD / HTTP/1.1\r\nHost: one.test\r\n\r\n", b"POST /\r\n\r\n", b"\x16\x03\x01", b"GET /half")
            )
        if world.has_header:
            self._unsent = b"PROXY TCP4 198.51.100.%d 192.0.2.1 1 80\r\n" % (number % 9 + 1) + self._unsent
        self._random = random
        self._has_ended = False
        self.has_left = False
        protocol, self.closed = world.door.accept(IPv4Address("TCP", "10.0.0.1", 40_000))
        self.transport = MemoryTransport(protocol, peer="10.0.0.1")
        protocol.makeConnection(self.transport)

    def act(self) -> None:
        """Sends, ends its half, leaves, reads or does not."""
        transport, random = self.transport, self._random
        if transport.is_lost:
            return
        chance = random.random()
        if chance < 0.72 and not self._has_ended:
            size = random.choice((1, 7, 60, 20_000, 100_000))
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            if piece:
                transport.deliver(piece)
        elif chance < 0.83:
            transport.peer_reads = False
        elif chance < 0.94:
            transport.read_all()
        elif chance < 0.96:
            self._end_half()
        elif chance > 0.985:
            self.has_left = True
            transport.reset_by_peer()

    def _end_half(self) -> None:
        transport = self.transport
        if not (
            self._has_ended or transport.is_paused or transport.unread_bytes or transport.end in ("closed", "aborted")
        ):
            self._has_ended = True
            transport.half_close_by_peer()

    def check(self) -> None:
        """What came is an answer to each request in order, or to the first ones; only the last may be cut off."""
        data = self.transport.received
        for request in self.requests:
            while data[:10] in (b"HTTP/1.1 1", b"HTTP/1.0 1"):
                head, _, data = data.partition(b"\r\n\r\n")
                assert ECHO + request.target in head.split(b"\r\n")
                if head.startswith(b"HTTP/1.1 101 "):
                    assert request.is_websocket
                    assert only_of(request.target, data)
                    return
            if b"\r\n\r\n" not in data:
                break
            data = self._checked(request, data)
        # Behind the answers there is at most one refusal of what was no request.
        assert data.count(b"HTTP/1.1 ") <= 1
        assert not data or OWN in data or self._was_cut_off

    @property
    def _was_cut_off(self) -> bool:
        return self.has_left or self.transport.end == "aborted"

    def _checked(self, request: Request, data: bytes) -> bytes:
        """Takes one final response off; returns what comes behind it."""
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        response = parse_response(head + b"\r\n\r\n", request.method)
        is_own = OWN in lines
        assert is_own or ECHO + request.target in lines, (request.target, head)
        # What the worker refuses before it knows the method has a body, for a HEAD as well, and ends the connection.
        if is_own and rest.startswith(b"%d " % response.status):
            return rest[response.content_length :]
        reader = reader_for(response)
        if reader is None:
            return rest
        body, rest = reader.feed(rest)
        assert is_own or only_of(request.target, body)
        if not reader.is_complete and response.content_length is None and not response.is_reusable:
            assert self.transport.end or self.has_left
        elif not reader.is_complete:
            assert self._was_cut_off, (request.target, head)
        return rest


class WireUpstream:
    """One connection to an upstream: reads requests, answers what it likes when it likes."""

    def __init__(self, attempt: Attempt, random: Random) -> None:
        self.transport = attempt.accept()
        self._random = random
        self._seen = 0
        self._target = b""
        self._method = b""
        self._reader: BodyReader | None = None
        self._unsent = b""
        self._is_answered = True
        self._is_tunnel = False
        self._ends = False

    def act(self) -> None:
        """Reads what there is, then answers, goes on answering, closes, breaks off, reads or does not."""
        transport, random = self.transport, self._random
        self._read()
        if transport.is_lost:
            return
        chance = random.random()
        if chance < 0.80:
            self._go_on()
        elif chance < 0.86:
            transport.peer_reads = False
        elif chance < 0.95:
            transport.read_all()
        elif chance < 0.98:
            self._close()
        elif chance > 0.99:
            transport.reset_by_peer()

    def _go_on(self) -> None:
        random = self._random
        if self._is_tunnel and random.random() < 0.5:
            self._unsent += self._target * random.choice((1, 100, 9000))
        elif self._target and not self._is_answered:
            self._is_answered = True
            self._unsent += self._answer()
        size = random.choice((1, 30, 100_000))
        piece, self._unsent = self._unsent[:size], self._unsent[size:]
        if piece:
            self.transport.deliver(piece)
        elif self._ends:
            self._close()

    def _close(self) -> None:
        transport = self.transport
        if not (transport.is_paused or transport.unread_bytes or transport.end in ("closed", "aborted")):
            transport.close_by_peer()

    def _read(self) -> None:
        """Follows the requests; whatever is not one, or comes before its turn, fails."""
        data = self.transport.received[self._seen :]
        self._seen += len(data)
        while data and not self._is_tunnel:
            if self._reader is not None:
                _, data = self._reader.feed(data)
                if self._reader.is_complete:
                    assert b"Content-Length: 3" not in self._reader.trailers
                    self._reader = None
                continue
            assert self._is_answered, "a request before the last one is answered"
            assert not self._unsent, "a request before the last answer is taken"
            head, end, data = data.partition(b"\r\n\r\n")
            assert end, "a head in pieces"
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        self._is_answered = False
        lines = head.split(b"\r\n")
        self._method, self._target, version = lines[0].split(b" ")
        assert version == b"HTTP/1.1"
        assert self._method.isalpha()
        fields = dict(line.split(b": ", 1) for line in lines[1:])
        if b"Transfer-Encoding" in fields:
            assert b"Content-Length" not in fields
            self._reader = ChunkedReader()
        elif b"Content-Length" in fields:
            self._reader = LengthReader(int(fields[b"Content-Length"]))
        self._wants_websocket = fields.get(b"Upgrade") == b"websocket"

    def _answer(self) -> bytes:
        random = self._random
        mine = ECHO + self._target + b"\r\n"
        interim = b"HTTP/1.1 103 Early Hints\r\n" + mine + b"\r\n"
        if self._wants_websocket and random.random() < 0.8:
            self._is_tunnel = True
            return b"HTTP/1.1 101 Switching Protocols\r\n" + mine + UPGRADE + b"\r\n" + self._target
        body = self._target * random.choice((0, 1, 5, 12_000))
        if self._method == b"HEAD":
            length = len(body)
            body = b""
        else:
            length = len(body)
        start = b"HTTP/1.1 %b OK\r\n" % random.choice((b"200", b"200", b"404", b"500")) + mine
        answers: tuple[Callable[[], bytes], ...] = (
            lambda: start + b"Content-Length: %d\r\n\r\n" % length + body,
            lambda: start + b"Content-Length: %d\r\n\r\n" % length + body,
            lambda: interim * 2 + start + b"Content-Length: %d\r\n\r\n" % length + body,
            lambda: start + b"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n" + self._chunked(body),
            lambda: self._until_close(start + b"\r\n" + body),
            lambda: b"HTTP/1.1 204 Nothing\r\n" + mine + b"\r\n",
            lambda: self._until_close(start + b"Content-Length: %d\r\n\r\n" % (length + 9) + body),
            lambda: b"HTTP/1.1 nonsense\r\n\r\n",
        )
        return random.choice(answers)()

    def _chunked(self, body: bytes) -> bytes:
        if self._method == b"HEAD":
            return b""
        return (chunk(body) if body else b"") + b"0\r\nX-T: 1\r\n\r\n"

    def _until_close(self, data: bytes) -> bytes:
        self._ends = True
        return data


class InOrder(dict[Any, None]):
    """A set in the order of arrival: that of a real one follows the addresses of its members."""

    def add(self, member: Any) -> None:
        self[member] = None

    def discard(self, member: Any) -> None:
        self.pop(member, None)


class World:
    """All of it. `happen` lets one thing happen."""

    def __init__(self, dialler: Dialler, random: Random) -> None:
        self.random = random
        self.has_header = random.random() < 0.3
        self._generation = 1
        limits = DownstreamLimits(max_drain_bytes=30_000)
        self.proxy = MemoryProxy(dialler, *self._hosts(), limits=limits, trusted=TRUSTED)
        self.proxy.sweep._waiting = InOrder()  # type: ignore[assignment]
        self.proxy.factory.connections = InOrder()  # type: ignore[assignment]
        self.admission = Admission(max_connections=12, max_per_client=0, trusted=TRUSTED)
        factory = self.proxy.factory
        self.door = Door(factory, factory, self.admission, proxy_protocol=self.has_header)
        self._attempts_seen = 0
        self._attempts: list[Attempt] = []
        self._clients: list[WireClient] = []
        self._upstreams: list[WireUpstream] = []
        self._states: set[UpstreamState] = set()
        self._pools: set[UpstreamPool] = set()
        self._note_targets()

    def happen(self) -> None:
        """One event, and most times all that follows from it."""
        self._attempts += self.proxy.dialler.attempts[self._attempts_seen :]
        self._attempts_seen = len(self.proxy.dialler.attempts)
        events = (
            (6, self._new_client),
            (45, lambda: self._act(self._clients)),
            (45, lambda: self._act(self._upstreams)),
            (20, self._decide_attempt),
            (2, lambda: self.proxy.advance(self.random.choice((0.3, 0.3, 2, 2, 6, 70)))),
            (3, self._configure),
        )
        [event] = self.random.choices([event for _, event in events], [weight for weight, _ in events])
        event()
        if self.random.random() < 0.8:
            self._settle()

    def end(self) -> None:
        """Everybody reads, nobody does anything more, and all deadlines pass."""
        if self.random.random() < 0.5:
            self.proxy.factory.drain(tunnels_within_s=5)
        for transport in [each.transport for each in (*self._clients, *self._upstreams)]:
            if not transport.is_lost and self.random.random() < 0.5:
                transport.read_all()
        self.proxy.configuration.close()
        for _ in range(20):  # pipelined requests, each with several attempts
            self.proxy.advance(LONG_S)
            self._settle()

    def check(self) -> None:
        """Nothing is left over, and every client got its own answers."""
        self.proxy.assert_nothing_left()
        assert self.admission.total == 0
        assert [state.in_flight for state in self._states if state.in_flight] == []
        assert [state for state in self._states if state._trial is not None] == []
        assert [pool.key for pool in self._pools if pool.open_count or pool.tunnels] == []
        telemetry = self.proxy.telemetry
        assert telemetry.tunnels == [each for each in telemetry.tunnels if each in telemetry.closed_tunnels]
        assert len(telemetry.tunnels) == len(telemetry.closed_tunnels)
        for client in self._clients:
            client.check()

    def _act(self, those: "list[WireClient] | list[WireUpstream]") -> None:
        present = [each for each in those if not each.transport.is_lost]
        if present:
            self.random.choice(present).act()

    def _new_client(self) -> None:
        self._clients.append(client := WireClient(self, len(self._clients)))
        self.proxy._transports.append(client.transport)

    def _decide_attempt(self) -> None:
        self._attempts = [attempt for attempt in self._attempts if not attempt.is_cancelled]
        if not self._attempts:
            return
        attempt = self._attempts.pop(self.random.randrange(len(self._attempts)))
        chance = self.random.random()
        if chance < 0.8:
            self._upstreams.append(made := WireUpstream(attempt, self.random))
            self.proxy._transports.append(made.transport)
        elif chance < 0.95:
            attempt.fail(ConnectionRefusedError(111, "refused"))

    def _settle(self) -> None:
        self.proxy.settle()
        for client in self._clients:
            if client.transport.is_lost and client.closed is not None:
                client.closed, closed = None, client.closed
                closed()

    # Operators

    def _configure(self) -> None:
        self._generation += 1
        self.proxy.install(*self._hosts(), generation=self._generation)
        self._note_targets()

    def _note_targets(self) -> None:
        for name in (b"one.test", b"two.test"):
            route = self.proxy.configuration.current.find(name)
            assert route is not None
            self._states |= {target.state for target in route.targets}
            self._pools |= {target.pool for target in route.targets}

    def _hosts(self) -> tuple[HostEntry, HostEntry]:
        random = self.random
        deadlines = Deadlines(tunnel_idle_s=random.choice((100, 300)), tunnel_drain_s=20)
        rules = (
            (HeaderRule(action="set", name="X-Rule", value="1"), HeaderRule(action="remove", name="X-T"))
            if random.random() < 0.5
            else ()
        )
        two = (upstream(2), upstream(3, backup=random.random() < 0.2), upstream(4, drain=random.random() < 0.2))
        balancing = random.choice(("round_robin", "least_connections", "ip_hash", "random_two_choices"))
        return (
            entry(upstream(1), domain="one.test", host_id="h1", deadlines=deadlines, request_headers=rules),
            entry(
                *two,
                domain="two.test",
                host_id="h2",
                deadlines=deadlines,
                websockets=random.random() < 0.9,
                load_balancing=balancing,
                response_headers=rules,
                limits=HostLimits(max_body_bytes=random.choice((0, 1000))),
            ),
        )


def only_of(target: bytes, data: bytes) -> bool:
    """Whether `data` is this target again and again, the last time perhaps not to its end."""
    return (target * (len(data) // len(target) + 1)).startswith(data)
