"""The framing corpus, replayed at every split point through a client connection.

Laws of this module: a file of tests/corpora/http1/{valid,invalid} is what a client sends. The JSON beside it says why
it is there and what happens: the requests that upstreams see, the statuses of the answers, whether the connection
closes, and of an invalid one which part of the message is wrong.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxyworker.policy.limits import DownstreamLimits
from tests.proxyworker.net.memory import Dialler, MemoryTransport
from tests.proxyworker.net.proxy import OK, MemoryProxy

CORPUS = Path(__file__).resolve().parents[2] / "corpora" / "http1"
LIMITS = DownstreamLimits(max_head_bytes=2048)


def files(kind: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((CORPUS / kind).glob("*.http"))]


@dataclass(frozen=True)
class Request:
    """A request as an upstream reads it; `size` is how many bytes it took."""

    size: int
    head: bytes
    body: bytes
    trailers: list[bytes]


class ScriptedUpstream:
    """Accepts every connection, reads complete requests with a parser of its own, and answers 200 to each."""

    def __init__(self, proxy: MemoryProxy) -> None:
        self._proxy = proxy
        self._connections: list[tuple[MemoryTransport, int]] = []
        self._accepted = 0
        self.requests: list[Request] = []

    @property
    def connections(self) -> list[MemoryTransport]:
        """Its ends of the connections, as the worker holds them."""
        return [transport for transport, _ in self._connections]

    def serve(self) -> None:
        """Until nothing more happens."""
        while self._accept() or self._answer():
            self._proxy.settle()

    def _accept(self) -> bool:
        attempts = self._proxy.dialler.attempts
        if self._accepted == len(attempts) or attempts[-1].is_cancelled:
            return False
        self._accepted = len(attempts)
        self._connections.append((self._proxy.accept(), 0))
        return True

    def _answer(self) -> bool:
        for index, (transport, position) in enumerate(self._connections):
            request = complete_request(transport.received[position:])
            if request is not None and not transport.is_lost:
                self._connections[index] = (transport, position + request.size)
                self.requests.append(request)
                is_head = request.head.startswith(b"HEAD")
                transport.deliver(OK[:-2] if is_head else OK)
                return True
        return False


def complete_request(data: bytes) -> Request | None:
    """The request that `data` begins with, when it is complete."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if b"Transfer-Encoding: chunked" in head:
        body, position = b"", 0
        while (line_end := rest.find(b"\r\n", position)) >= 0:
            length = int(rest[position:line_end], 16)
            position = line_end + 2
            if not length:
                trailers, end, _ = (b"\r\n" + rest[position:]).partition(b"\r\n\r\n")
                size = len(head) + 4 + position + len(trailers) + 2
                return Request(size, head, body, trailers.split(b"\r\n")[1:]) if end else None
            body += rest[position : position + length]
            position += length + 2
        return None
    found = re.search(rb"Content-Length: (\d+)", head)
    length = int(found[1]) if found else 0
    return None if len(rest) < length else Request(len(head) + 4 + length, head, rest[:length], [])


def replay(dialler: Dialler, data: bytes, split: int) -> tuple[MemoryProxy, MemoryTransport, ScriptedUpstream]:
    """`data` in two reads, with the upstream at work between them and afterwards."""
    proxy = MemoryProxy(dialler, limits=LIMITS)
    upstream = ScriptedUpstream(proxy)
    client = proxy.client()
    for part in (data[:split], data[split:]):
        if part and not client.end:
            client.deliver(part)
            upstream.serve()
    return proxy, client, upstream


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", received)]


@pytest.mark.parametrize("path", files("valid"))
def test_valid(path: Path, dialler: Dialler) -> None:
    """The upstream sees just the requests expected, the client just the answers, wherever the bytes are split."""
    data, expected = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    for split in range(len(data)):
        dialler.attempts.clear()
        proxy, client, upstream = replay(dialler, data, split)
        assert statuses(client.received) == expected["answers"], split
        assert bool(client.end) is expected["closes"], split
        assert len(upstream.requests) == len(expected["requests"]), split
        for request, wanted in zip(upstream.requests, expected["requests"], strict=True):
            text = request.head.decode("latin-1") + "\r\n"
            assert text.startswith(wanted["line"] + "\r\n")
            assert all(f"\r\n{line}\r\n" in text for line in wanted["has"]), text
            assert not any(piece in text.lower().replace("x-request-id: test-", "") for piece in wanted["lacks"]), text
            assert request.body.decode() == wanted["body"]
            assert [line.decode("latin-1") for line in request.trailers] == wanted.get("trailers", [])
        assert proxy.telemetry.refusals == []


@pytest.mark.parametrize("path", files("invalid"))
def test_invalid(path: Path, dialler: Dialler) -> None:
    """The client gets the status, the connection closes, and no upstream sees a complete request of it."""
    data, expected = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    answers = expected["answers"]
    for split in range(len(data)):
        dialler.attempts.clear()
        proxy, client, upstream = replay(dialler, data, split)
        assert statuses(client.received) == answers, split
        assert client.end == "half-closed", split
        assert proxy.telemetry.refusals == [answers[-1]], split
        assert len(upstream.requests) == len(answers) - 1, split
        if expected["part"] == "head":
            assert len(dialler.attempts) == len(answers) - 1, split
        else:
            # The head was fine and may have gone out by then: the upstream sees that the rest will not come.
            assert dialler.attempts[-1].is_cancelled or upstream.connections[-1].end == "aborted", split
        client.close_by_peer()
        proxy.configuration.close()
        proxy.assert_nothing_left()


def test_every_file_has_its_expectation() -> None:
    """Requests and expectations come in pairs, and each says why it is there."""
    stems = {path.with_suffix("") for path in CORPUS.glob("*/*.http")}
    assert stems == {path.with_suffix("") for path in CORPUS.glob("*/*.json")}
    assert len(stems) > 100
    for stem in stems:
        assert json.loads(stem.with_suffix(".json").read_text())["why"]
