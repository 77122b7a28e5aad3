"""A worker with a static feed instead of the database: `python -m tests.proxyworker.worker_main FILE`.

FILE is JSON and says where to listen. Beside it FILE's name with `.entries` has one entry with its keys per line, in
ascending order of generations; at every poll what was appended is read, or all of it when the file is another one.
While it does not exist the feed is away. What is reported of the traffic is appended to FILE's name with `.traffic`.

The compiled data plane is used as TESTS_COMPILED has it, 0 or 1; without that variable, if there is a build.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from twisted.internet import asyncioreactor

from proxyworker import compiled
from proxyworker.snapshot import LoadedEntry, WorkerReport

if TYPE_CHECKING:
    from proxyworker.access_log.log import AccessLogSettings


class FileFeed:
    """Reads the file of entries."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(".entries")
        self._traffic_path = path.with_suffix(".traffic")
        self._inode = self._position = 0

    def entries_since(self, generation: int) -> Iterator[LoadedEntry]:
        with self._path.open() as lines:
            inode = os.fstat(lines.fileno()).st_ino
            if inode != self._inode or not generation:
                self._inode, self._position = inode, 0
            lines.seek(self._position)
            while (line := lines.readline()).endswith("\n"):
                self._position = lines.tell()
                document = json.loads(line)
                if document["generation"] > generation:
                    yield _loaded(document)

    def record_report(self, report: WorkerReport) -> None:
        logging.getLogger("test").info("report: generation %d, accepted %d", report.generation, report.accepted)
        with self._traffic_path.open("a") as lines:
            lines.writelines(json.dumps({"run": report.run, **asdict(traffic)}) + "\n" for traffic in report.traffic)


def _loaded(document: dict[str, Any]) -> LoadedEntry:
    key_pem = document.pop("key_pem").encode()
    downstream_key_pem = document.pop("downstream_key_pem").encode()
    return LoadedEntry(
        **document,
        open_client_key=(lambda: key_pem) if key_pem else None,
        open_downstream_key=(lambda: downstream_key_pem) if downstream_key_pem else None,
    )


def _access_log(fields: dict[str, Any]) -> "AccessLogSettings":
    from proxyworker.access_log.log import AccessLogSettings

    destination = fields.pop("destination", "off")
    return AccessLogSettings(
        destination=destination if destination in ("off", "stdout") else Path(destination), **fields
    )


def main(path: Path) -> int:
    form = os.environ.get("TESTS_COMPILED", "")
    if form != "0" and not compiled.use() and form:
        raise RuntimeError("there is no build of the present sources: make compile")
    settings = json.loads(path.read_text())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    from twisted.internet import reactor  # noqa: TID251 (exists from here on)

    from proxyworker import source
    from proxyworker.policy.limits import DownstreamLimits
    from proxyworker.policy.trusted_proxies import TrustedProxies
    from proxyworker.service import ProxyService, ServiceSettings

    source.POLL_S = settings["poll_s"]
    service = ProxyService(
        ServiceSettings(
            http=[("127.0.0.1", settings["http"])],
            https=[("127.0.0.1", settings["https"])],
            management=("127.0.0.1", settings["management"]),
            redis_url=settings["redis_url"],
            health_stale_after_s=settings["health_stale_after_s"],
            version="test",
            proxy_protocol=frozenset(("127.0.0.1", settings[name]) for name in settings["proxy_protocol"]),
            trusted_proxies=TrustedProxies(settings["trusted_proxies"]),
            limits=DownstreamLimits(**settings["limits"]),
            max_connections=settings["max_connections"],
            max_connections_per_client=settings["max_connections_per_client"],
            worker_id="test:1",
            drain_delay_s=settings["drain_delay_s"],
            access_log=_access_log(settings["access_log"]),
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
