"""A WebSocket server that does nothing but answer: `python -m tests.bench.echo PORT`.

It stands behind the benchmark's upstream, so that TLS is the same for all. Every client frame of the scenarios has one
size and a mask of zeros (RFC 6455 section 5.3 leaves the choice to the client), so that what goes back is known: frames
are counted, not parsed. No proxy looks into them either.
"""

import asyncio
import base64
import hashlib
import re
import sys
from typing import cast

import uvloop

PAYLOAD_BYTES = 1024
PAYLOAD = b"x" * PAYLOAD_BYTES

# RFC 6455 section 5.2: a final binary frame with a 16-bit length, masked from the client.
CLIENT_FRAME = b"\x82\xfe" + PAYLOAD_BYTES.to_bytes(2) + bytes(4) + PAYLOAD
SERVER_FRAME = b"\x82\x7e" + PAYLOAD_BYTES.to_bytes(2) + PAYLOAD

_KEY = re.compile(rb"\r\nsec-websocket-key: *([^\r]+)", re.IGNORECASE)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class Echo(asyncio.Protocol):
    """One connection: the handshake, then a frame for each frame."""

    def __init__(self) -> None:
        self._head = b""
        self._is_open = False
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            key = _KEY.search(head)
            if not end or key is None:
                return
            self._is_open = True
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        self._received += len(data)
        frames, self._received = divmod(self._received, len(CLIENT_FRAME))
        if frames:
            self._transport.write(SERVER_FRAME * frames)


async def main(port: int) -> None:
    """Serves until it is killed."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
