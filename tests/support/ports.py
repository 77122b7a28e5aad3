"""Addresses on loopback that nobody listens on."""

import random
import socket

# Below the kernel's ephemeral range, so that no outgoing connection takes the port before the test's server does.
_RANGE = range(20_000, 30_000)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    while True:
        port = random.choice(_RANGE)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
