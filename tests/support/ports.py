"""Addresses on loopback that nobody listens on."""

import itertools
import os
import random
import socket

# Below the kernel's ephemeral range, so that no outgoing connection takes the port before the test's server does. Each
# test process has a part of its own and gives out no port twice, so that a server that is started again finds its own.
_PORTS_PER_PROCESS = 1000
_PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_FIRST = 20_000 + _PART * _PORTS_PER_PROCESS
_ports = itertools.cycle(random.sample(range(_FIRST, _FIRST + _PORTS_PER_PROCESS), _PORTS_PER_PROCESS))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
