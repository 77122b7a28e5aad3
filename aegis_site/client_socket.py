"""A client's socket in the web process, which counts how long its threads wait for the client.

Laws of this module: waiting is measured, never interrupted here: who watches the socket shuts it down when it is
overdue. A slow client may take as long as it wants while it moves MIN_BYTES_PER_S; one that trickles or stops may not.
"""

import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# What a thread waits for a client that sends or takes nothing.
PATIENCE_S = 10.0
# 12 MB, the largest body, take ten minutes at this rate.
MIN_BYTES_PER_S = 20_000
# So much is sent between two looks at the clock.
_PIECE_BYTES = 64 * 1024


class ClientSocket(socket.socket):
    """A blocking socket with a budget of waiting, which bytes that move refill."""

    _left_s = PATIENCE_S
    _waits_since: float | None = None

    def begin(self) -> None:
        """A request begins, with the whole budget."""
        self._left_s, self._waits_since = PATIENCE_S, None

    def is_overdue(self, now: float) -> bool:
        """Whether a thread waits for the client, and has waited long enough. Called by another thread."""
        since = self._waits_since
        return since is not None and now - since > self._left_s

    def recv(self, size: int, flags: int = 0) -> bytes:
        return self._watched(lambda: super(ClientSocket, self).recv(size, flags), len)

    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view[:_PIECE_BYTES], flags) :]

    def send(self, data: Any, flags: int = 0) -> int:
        return self._watched(lambda: super(ClientSocket, self).send(data, flags), int)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        # The base class's os.sendfile would not be seen; its other way goes through `send`.
        return self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined, no-any-return]

    def _watched(self, work: Callable[[], T], count: Callable[[T], int]) -> T:
        begun = self._waits_since = time.monotonic()
        moved = 0
        try:
            result = work()
            moved = count(result)
        finally:
            self._waits_since = None
            left_s = self._left_s - (time.monotonic() - begun) + moved / MIN_BYTES_PER_S
            self._left_s = min(PATIENCE_S, left_s)
        return result
