"""A worker with a static feed instead of the database: `python -m tests.proxyworker.worker_main FILE`.

FILE is JSON: where to listen, and the entries with their keys; it is read again at every poll. While `entries` is null
the feed is away.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import uvloop
from twisted.internet import asyncioreactor

from proxyworker.snapshot import LoadedEntry, WorkerReport


class FileFeed:
    """Reads the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries_since(self, generation: int) -> list[LoadedEntry]:
        entries = json.loads(self._path.read_text())["entries"]
        return [_loaded(entry) for entry in entries if entry["generation"] > generation]

    def record_report(self, report: WorkerReport) -> None:
        logging.getLogger("test").info("report: generation %d, accepted %d", report.generation, report.accepted)


def _loaded(document: dict[str, Any]) -> LoadedEntry:
    key_pem = document.pop("key_pem").encode()
    downstream_key_pem = document.pop("downstream_key_pem").encode()
    return LoadedEntry(
        **document,
        open_client_key=(lambda: key_pem) if key_pem else None,
        open_downstream_key=(lambda: downstream_key_pem) if downstream_key_pem else None,
    )


def main(path: Path) -> int:
    settings = json.loads(path.read_text())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    from twisted.internet import reactor  # noqa: TID251 (exists from here on)

    from proxyworker import source
    from proxyworker.service import ProxyService, ServiceSettings

    source.POLL_S = settings["poll_s"]
    service = ProxyService(
        ServiceSettings(
            http=[("127.0.0.1", settings["http"])],
            https=[("127.0.0.1", settings["https"])],
            management=("127.0.0.1", settings["management"]),
            redis_url="unix:///nowhere/redis.sock",
            version="test",
        ),
        FileFeed(path),
        reactor=reactor,
        loop=loop,
    )
    reactor.callWhenRunning(service.start)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
    return int(service.has_failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
