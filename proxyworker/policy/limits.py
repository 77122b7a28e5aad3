"""Limits and deadlines of client connections, which hold before a request's host is known."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamLimits:
    """Byte limits and deadlines, in seconds. What passes one is answered with the status named, then closed."""

    max_head_bytes: int = 32_768  # 431
    # aborted; proxy-protocol.txt section 2 wants at least 3 s, for a segment that was lost
    proxy_header_s: float = 5.0
    handshake_s: float = 10.0
    head_s: float = 30.0  # 408; from a request's first byte to the end of its head
    keep_alive_s: float = 75.0  # closed silently
    body_stall_s: float = 60.0  # 408; between two reads of a request body
    write_stall_s: float = 60.0  # aborted; a client that reads nothing while bytes wait for it
    drain_s: float = 5.0  # reading what is left of a request body after an early answer
    half_closed_s: float = 5.0  # aborted; from the end of the client's half to the beginning of its answer
    max_drain_bytes: int = 16 * 1024 * 1024
