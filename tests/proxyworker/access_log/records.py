"""Records of requests, as connections make them."""

from proxyworker.net.deadlines import Sweep
from proxyworker.net.pool import PoolKey, UpstreamPool
from proxyworker.net.route import Target
from proxyworker.net.telemetry import Record
from proxyworker.policy.health import UpstreamState
from proxyworker.protocol.request import RequestHead, parse_request
from proxyworker.snapshot import Deadlines

# 2026-11-24T09:30:09Z, and half a second.
ENDED_S = 1_795_512_609.5

TARGET = Target(
    upstream_id="u",
    label="https://10.0.0.7:9443",
    authority=b"a",
    pool=UpstreamPool(
        PoolKey(address="10.0.0.7", port=9443, identity="", deadlines=Deadlines()),
        None,
        loop=None,  # type: ignore[arg-type]
        sweep=Sweep(lambda: ENDED_S),
    ),
    state=UpstreamState(),
)


def request(*lines: bytes, target: bytes = b"/a?b=c", version: bytes = b"1.1") -> RequestHead:
    """A GET for app.test with these further field lines."""
    head = [b"GET " + target + b" HTTP/" + version, b"Host: app.test", *lines, b"", b""]
    return parse_request(b"\r\n".join(head))


def record(
    head: RequestHead | None,
    *,
    host: str = "app.test",
    client_address: str = "192.0.2.7",
    request_id: bytes = b"0a0b0c0d00000001",
    target: Target | None = TARGET,
    failure_code: str = "",
    upstream_status: int = 200,
    opened_in_s: tuple[float, float | None] | None = None,
) -> Record:
    """An answer with 200 that took a quarter of a second."""
    answer = (ENDED_S, ENDED_S - 0.25, 120, 3456, 200)
    client = (host, client_address, True, request_id, head)
    attempts = 0 if target is None else 1 + bool(failure_code)
    return (*answer, *client, target, attempts, failure_code, upstream_status, opened_in_s)
