"""Clients that check every answer, at full speed or at a given rate.

Laws of this module: a client knows nothing of the proxy; what an answer must be is told by `expect`, which is asked
after the answer came, with the time when its request was sent.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

PATIENCE_S = 20.0

# What is wrong with an answer; empty: nothing. Arguments: domain, body, when the request was sent.
Expect = Callable[[str, bytes, float], str]


@dataclass
class Tally:
    """What came of the requests. `failures` are of GETs, `refused` of POSTs, which nobody repeats."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


class Client:
    """One client connection, opened again when the proxy closes it between two answers."""

    def __init__(self, port: int, domains: Sequence[str], expect: Expect, tally: Tally, *, posts_every: int) -> None:
        self._port = port
        self._domains = domains
        self._expect = expect
        self._tally = tally
        self._posts_every = posts_every
        self._number = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, until_s: float, pause_s: float) -> None:
        """Requests until then, each `pause_s` after the one before; 0: at once."""
        due_s = time.monotonic()
        while time.monotonic() < until_s:
            await self._once()
            due_s = max(due_s + pause_s, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        self._close()

    async def _once(self) -> None:
        self._number += 1
        domain = self._domains[self._number % len(self._domains)]
        is_post = self._number % self._posts_every == 0
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, body = await self._exchange(domain, is_post)
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            status, body = type(error).__name__, b""
            self._close()
        self._tally.slowest_s = max(self._tally.slowest_s, time.monotonic() - started_s)
        if status == "200":
            problem = self._expect(domain, body, started_s)
            self._tally.right += not problem
            self._tally.wrong += [problem] if problem else []
        elif is_post:
            self._tally.refused[status] += 1
        else:
            self._tally.failures.append(f"{time.monotonic():.2f} {domain}: {status} {body[:200]!r}")

    async def _exchange(self, domain: str, is_post: bool) -> tuple[str, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        start = f"POST / HTTP/1.1\r\nHost: {domain}\r\nContent-Length: 4\r\n\r\nbody"
        writer.write((start if is_post else f"GET / HTTP/1.1\r\nHost: {domain}\r\n\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(lines["content-length"]))
        if lines.get("connection") == "close":
            self._close()
        return head.split(" ", 2)[1], body

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def put_load(
    port: int, domains: Sequence[str], expect: Expect, *, seconds: float, clients: int, rate: float = 0.0
) -> Tally:
    """`rate` requests a second of all clients together for that long; 0: as many as there can be."""
    tally = Tally()
    until_s = time.monotonic() + seconds
    pause_s = clients / rate if rate else 0.0
    made = [
        Client(port, domains[number:] + domains[:number], expect, tally, posts_every=10) for number in range(clients)
    ]
    await asyncio.gather(*(client.run(until_s, pause_s) for client in made))
    return tally
