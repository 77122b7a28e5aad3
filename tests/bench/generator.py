"""A load generator for machines without wrk: `python -m tests.bench.generator JSON` prints what it got as JSON.

It keeps every connection busy with one request at a time and checks status and length of every answer.
"""

import asyncio
import json
import ssl
import sys
import time
from typing import Any, cast

import uvloop

from tests.bench.echo import CLIENT_FRAME, PAYLOAD, SERVER_FRAME
from tests.bench.scenarios import DOMAIN, Scenario

UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._received = 0
        self._expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._run.clients.add(self)
        self._send()

    def _send(self) -> None:
        self._started_s = time.perf_counter()
        self._received = self._expected = 0
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        if not self._expected:
            # The heads of these scenarios are small and arrive in one piece.
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or not data.startswith(b"HTTP/1.1 200 "):
                self._run.errors += 1
                self._transport.abort()
                return
            self._expected = end + self._run.scenario.response_bytes
        self._received += len(data)
        if self._received >= self._expected:
            self._run.answered(self._received, time.perf_counter() - self._started_s)
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.clients.discard(self)
        self._run.errors += not self._run.is_over

    def end(self) -> None:
        """Breaks off."""
        self._transport.abort()


class EchoClient(asyncio.Protocol):
    """One WebSocket, with one message on its way at a time."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._received = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._run.clients.add(self)
        self._transport.write(UPGRADE % (self._run.scenario.path.encode(), DOMAIN.encode()))

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._received += data
            head, end, data = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 ") or data:
                self._transport.abort()
                return
            self._send()
            return
        self._missing -= len(data)
        if self._missing <= 0:
            if self._missing or not data.endswith(PAYLOAD[-len(data) :]):
                self._transport.abort()
                return
            self._run.answered(len(SERVER_FRAME), time.perf_counter() - self._started_s)
            self._send()

    def _send(self) -> None:
        self._started_s = time.perf_counter()
        self._missing = len(SERVER_FRAME)
        self._transport.write(CLIENT_FRAME)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.clients.discard(self)
        self._run.errors += not self._run.is_over

    def end(self) -> None:
        """Breaks off."""
        self._transport.abort()


class Run:
    """All connections, and what they got."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        body = b"x" * scenario.request_bytes
        method = b"POST" if body else b"GET"
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        self.request = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n%b" % (
            method,
            scenario.path.encode(),
            DOMAIN.encode(),
            length,
            body,
        )
        self.clients: set[Client | EchoClient] = set()
        self.durations_s: list[float] = []
        self.bytes = 0
        self.errors = 0
        self.is_over = False

    def answered(self, size: int, duration_s: float) -> None:
        """One answer is complete."""
        self.bytes += size
        self.durations_s.append(duration_s)

    async def go(self, port: int, connections: int, seconds: float) -> dict[str, Any]:
        """The result, after `seconds`."""
        context = None
        if self.scenario.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # it measures; it is not deceived by anybody
        kind = EchoClient if self.scenario.is_websocket else Client
        loop = asyncio.get_running_loop()
        started_s = time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: kind(self), "127.0.0.1", port, ssl=context)
        await asyncio.sleep(seconds)
        self.is_over = True
        duration_s = time.perf_counter() - started_s
        for client in list(self.clients):
            client.end()
        ordered = sorted(self.durations_s) or [0.0]
        return {
            "requests": len(self.durations_s),
            "bytes": self.bytes,
            "duration_s": duration_s,
            "errors": self.errors,
            "p50_ms": ordered[len(ordered) // 2] * 1e3,
            "p99_ms": ordered[len(ordered) * 99 // 100] * 1e3,
        }


def main(document: dict[str, Any]) -> None:
    """Runs what the document says."""
    run = Run(Scenario(**document["scenario"]))
    result = uvloop.run(run.go(document["port"], document["connections"], document["seconds"]))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
