"""One attempt at an upstream over blocking sockets.

Laws of this module:
- It carries out the steps of `upstream_tls.tls.conversation` and decides nothing.
- Every wait is bounded by what the step has left, so it does not matter how slowly a peer sends.
- Never raises for what the network or the peer does.
"""

import contextlib
import queue
import socket
import threading
from typing import Any

from upstream_tls.tls.answer import Answer, request_bytes
from upstream_tls.tls.context import ClientContext
from upstream_tls.tls.conversation import (
    READ_BYTES,
    Addresses,
    Attempt,
    Connect,
    Deadline,
    LookUp,
    Question,
    Receive,
    Send,
    Step,
    Steps,
    TLSConversation,
    addresses_of,
)
from upstream_tls.tls.result import ProbeTarget


def attempt(context: ClientContext, target: ProbeTarget, deadline: Deadline) -> Attempt:
    """Tries once. Raises SpecProblem when the upstream's address is no name that TLS can send."""
    question = Question(request=request_bytes(target.host_field, target.path), answer=Answer())
    conversation = TLSConversation(context, target.address, target.port, question, deadline)
    with contextlib.closing(_Line()) as line:
        _carry_out(conversation.steps(), line)
    return conversation.record


def _carry_out(steps: Steps, line: "_Line") -> None:
    with contextlib.suppress(StopIteration):
        step = next(steps)
        while True:
            try:
                outcome = line.carry_out(step)
            except OSError as error:
                step = steps.throw(error)
            else:
                step = steps.send(outcome)


class _Line:
    """The connection, once there is one."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None

    def carry_out(self, step: Step) -> Any:
        """The outcome of `step`. Raises OSError."""
        match step:
            case LookUp():
                return _look_up(step)
            case Connect():
                self._connect(step)
            case Send():
                self._open(step.within_s).sendall(step.data)
            case Receive():
                return self._open(step.within_s).recv(READ_BYTES)
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connect(self, step: Connect) -> None:
        connection = socket.socket(step.family, socket.SOCK_STREAM)
        try:
            connection.settimeout(step.within_s)
            connection.connect(step.address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _open(self, within_s: float) -> socket.socket:
        """The connection, with this patience; none at all makes it non-blocking."""
        assert self._connection is not None  # noqa: S101 (nothing is sent before Connect has succeeded)
        self._connection.settimeout(within_s)
        return self._connection


def _look_up(step: LookUp) -> Addresses:
    """Leaves the resolver behind in a thread of its own when the time is up. Raises socket.gaierror, TimeoutError."""
    found: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(addresses_of(step.name, step.port))
        except OSError as error:
            found.put(error)

    threading.Thread(target=look_up, name="probe-lookup", daemon=True).start()
    try:
        answer = found.get(timeout=step.within_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer
