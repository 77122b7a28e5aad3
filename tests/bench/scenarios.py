"""What is measured: each scenario is one kind of request, sent again and again over kept client connections."""

from dataclasses import dataclass

DOMAIN = "app.test"
KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`scheme` is that of the client's connection; to the upstream it is always mutual TLS.

    `response_bytes` is the length of every right answer's body; anything else counts as an error. `is_websocket`: the
    requests are messages of 1 KiB on WebSockets, which are sent back.
    """

    name: str
    path: str
    response_bytes: int
    scheme: str = "http"
    request_bytes: int = 0
    is_websocket: bool = False


# The upstream (tests/bench/upstream.py) has a file of that length behind each path; it closes its connection after
# every answer to /fresh.
SCENARIOS = (
    Scenario(name="get-1k", path="/1k", response_bytes=KIB),
    Scenario(name="get-64k", path="/64k", response_bytes=64 * KIB),
    Scenario(name="get-1m", path="/1m", response_bytes=1024 * KIB),
    Scenario(name="post-64k", path="/post", response_bytes=3, request_bytes=64 * KIB),
    Scenario(name="tls-get-1k", path="/1k", response_bytes=KIB, scheme="https"),
    Scenario(name="ws-echo-1k", path="/echo", response_bytes=KIB, is_websocket=True),
    Scenario(name="fresh-1k", path="/fresh", response_bytes=KIB),
)
