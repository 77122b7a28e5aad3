"""File descriptors: how many connections a process can have.

Laws of this module: when descriptors run out, libuv accepts and closes at once with one that it keeps for that, so
nobody is served but nobody spins either. That is the last resort; the limit on clients is derived from the limit on
descriptors, with an upstream's connection for each client's, so that clients are told `503` long before.
"""

import resource

# The loop, listeners, database, Redis, log files, the management listener's clients, refused clients that still read.
RESERVED_DESCRIPTORS = 256

# About 10 KB each: half a gigabyte. Who has more memory sets AEGIS_PROXY_MAX_CONNECTIONS.
MOST_BY_DEFAULT = 50_000

_FEWEST = 16


class TooFewDescriptors(Exception):
    """The limit on descriptors does not allow as many connections as are asked for. The text says both."""


def raise_limit() -> int:
    """Raises the soft limit on descriptors to the hard one, as HAProxy and Go do. The limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connection_limit(wanted: int, descriptors: int) -> int:
    """How many connections clients may have; `wanted` 0: as many as fit. Raises TooFewDescriptors."""
    # RLIM_INFINITY is -1 in Python.
    fitting = MOST_BY_DEFAULT if descriptors < 0 else (descriptors - RESERVED_DESCRIPTORS) // 2
    if wanted and 0 <= descriptors < wanted * 2 + RESERVED_DESCRIPTORS:
        raise TooFewDescriptors(
            f"{wanted} connections need {wanted * 2 + RESERVED_DESCRIPTORS} file descriptors (two each, and "
            f"{RESERVED_DESCRIPTORS}); the limit is {descriptors} (ulimit -Hn, LimitNOFILE=)"
        )
    return wanted or min(max(fitting, _FEWEST), MOST_BY_DEFAULT)
