"""One attempt at an upstream on an event loop.

Laws of this module:
- It carries out the steps of `upstream_tls.tls.conversation`, as connection tests do with blocking sockets, and decides
  nothing.
- One timer for all of an attempt, and one for each further address: a process has thousands of attempts under way.
- Never raises for what the network or the peer does.
"""

import asyncio
import contextlib
import socket
from concurrent.futures import Executor
from typing import Any

from upstream_tls.tls.conversation import (
    READ_BYTES,
    Connect,
    Conversation,
    LookUp,
    Receive,
    Send,
    Step,
    Steps,
    addresses_of,
)


async def attempt(conversation: Conversation, *, lookups: Executor) -> None:
    """Has it until its end or its deadline, which is on the loop's clock. Names are looked up in `lookups`."""
    steps = conversation.steps()
    with contextlib.closing(_Line(lookups)) as line, contextlib.closing(steps):
        try:
            async with asyncio.timeout_at(conversation.deadline.at):
                await _carry_out(steps, line)
        except TimeoutError:
            conversation.record.timed_out = True


async def _carry_out(steps: Steps, line: "_Line") -> None:
    try:
        step = next(steps)
        while True:
            try:
                outcome = await line.carry_out(step)
            except OSError as error:
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration:
        pass


class _Line:
    """The connection, once there is one."""

    def __init__(self, lookups: Executor) -> None:
        self._loop = asyncio.get_running_loop()
        self._lookups = lookups
        self._connection: socket.socket | None = None

    async def carry_out(self, step: Step) -> Any:
        """The outcome of `step`. Raises OSError."""
        match step:
            case LookUp():
                return await self._loop.run_in_executor(self._lookups, addresses_of, step.name, step.port)
            case Connect():
                await self._connect(step)
            case Send(is_last_word=True):
                self._open().send(step.data)
            case Send():
                await self._loop.sock_sendall(self._open(), step.data)
            case Receive():
                return await self._loop.sock_recv(self._open(), READ_BYTES)
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _connect(self, step: Connect) -> None:
        connection = socket.socket(step.family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(step.within_s):
                await self._loop.sock_connect(connection, step.address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _open(self) -> socket.socket:
        assert self._connection is not None  # noqa: S101 (nothing is sent before Connect has succeeded)
        return self._connection
