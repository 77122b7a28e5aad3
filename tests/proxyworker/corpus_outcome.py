"""What the data plane makes of the framing corpus: `python -m tests.proxyworker.corpus_outcome` prints all of it.

The compiled data plane is used when TESTS_COMPILED is 1.
"""

import os
import sys

from proxyworker import compiled

if os.environ["TESTS_COMPILED"] == "1" and not compiled.use():
    raise RuntimeError("there is no build of the present sources: make compile")

from proxyworker.net import exchange, upstream
from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.proxy import MemoryProxy
from tests.proxyworker.net.test_corpus import CORPUS, LIMITS, ScriptedUpstream


def outcome(data: bytes, split_at: int) -> list[object]:
    """What the client gets, what upstreams see, and what is counted, logged and told of it."""
    dialler = Dialler()
    upstream.connect = dialler  # type: ignore[assignment]
    proxy = MemoryProxy(dialler, limits=LIMITS)
    scripted = ScriptedUpstream(proxy)
    client = proxy.client()
    for piece in (data[:split_at], data[split_at:]):
        if piece and not client.is_lost:
            client.deliver(piece)
            scripted.serve()
    proxy.advance(120)
    told = proxy.telemetry
    seen = [connection.received for connection in scripted.connections]
    records = [(*record[:9], *record[11:]) for record in told.records]
    return [client.received, client.end, seen, told.answers, told.refusals, told.codes, told.transferred, records]


def main() -> None:
    sys.stdout.write(f"{type(exchange.Exchange.start).__name__}\n")
    for path in sorted(CORPUS.glob("*/*.http")):
        data = path.read_bytes()
        for split_at in (0, len(data) // 3, len(data) - 1):
            sys.stdout.write(f"{path.stem} {split_at} {outcome(data, split_at)!r}\n")


if __name__ == "__main__":
    main()
