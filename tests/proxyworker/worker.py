"""A worker process with a static feed, and small upstreams for it, on real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from aegis_site.environment import BASE_DIR
from proxyworker.snapshot import TRAFFIC_COLUMNS, HostEntry, encode_entry
from tests.support.instance import Answer, request
from tests.support.polling import eventually
from tests.support.ports import free_port

PATIENCE_S = 15


class Worker:
    """`with Worker(directory, entries) as worker:` serves when the block is entered."""

    def __init__(
        self,
        directory: Path,
        *hosts: HostEntry,
        keys: dict[str, str] | None = None,
        downstream_keys: dict[str, str] | None = None,
        poll_s: float = 0.1,
        proxy_protocol: tuple[str, ...] = (),
        trusted_proxies: tuple[str, ...] = (),
        limits: dict[str, float] | None = None,
        max_connections: int = 0,
        max_connections_per_client: int = 0,
        drain_delay_s: float = 0.0,
        access_log: dict[str, object] | None = None,
        redis_url: str = "unix:///nowhere/redis.sock",
        health_stale_after_s: float = 30.0,
    ) -> None:
        self.http, self.https, self.management = (free_port() for _ in range(3))
        directory.mkdir(exist_ok=True)
        self._path = directory / "worker.json"
        self._entries_path = directory / "worker.entries"
        self._log_path = directory / "worker.log"
        self._keys = keys or {}
        self.downstream_keys = downstream_keys or {}
        self._edge = {
            "proxy_protocol": proxy_protocol,
            "trusted_proxies": trusted_proxies,
            "limits": limits or {},
            "max_connections": max_connections,
            "max_connections_per_client": max_connections_per_client,
            "access_log": access_log or {},
        }
        self._redis = {"redis_url": redis_url, "health_stale_after_s": health_stale_after_s}
        self._timing = {"poll_s": poll_s, "drain_delay_s": drain_delay_s}
        self._generation = 0
        self.install(*hosts)

    def install(self, *hosts: HostEntry | None) -> None:
        """These are the hosts from the next poll on; None: the feed is away."""
        self._generation += 1
        ports = {"http": self.http, "https": self.https, "management": self.management}
        _replace(self._path, json.dumps({**ports, **self._timing, **self._edge, **self._redis}))
        if None in hosts:
            # Kept under another name: a new file must not get this one's inode, by which the feed knows it.
            self._entries_path.rename(self._entries_path.with_suffix(".away"))
            return
        _replace(self._entries_path, "".join(self._line(host) for host in hosts if host is not None))

    def change(self, *hosts: HostEntry) -> None:
        """These hosts are new or different from the next poll on, all others stay as they are."""
        self._generation += 1
        with self._entries_path.open("a") as entries:
            entries.write("".join(map(self._line, hosts)))

    def forget(self, host_id: str) -> None:
        """This host is gone from the next poll on."""
        self._generation += 1
        gone = {"host_id": host_id, "generation": self._generation, "digest": "", "entry_json": ""}
        with self._entries_path.open("a") as entries:
            entries.write(json.dumps({**gone, "key_pem": "", "downstream_key_pem": ""}) + "\n")

    def told(self, host_id: str) -> Counter[str]:
        """What the feed has of the traffic of one host, or of all of them (""): the last word of each row counts."""
        if not (path := self._path.with_suffix(".traffic")).exists():
            return Counter()
        rows = {}
        for row in map(json.loads, path.read_text().splitlines()):
            if row["host_id"] == host_id:
                rows[row["run"], row["start_s"], row["part"], row["generation"]] = row["counts"]
        totals = Counter[str]()
        for counts in rows.values():
            totals.update(dict(zip(TRAFFIC_COLUMNS, counts, strict=True)))
        return +totals

    def key_of(self, host_id: str) -> str:
        """The key of the host's client certificate."""
        return self._keys[host_id]

    def set_key(self, host_id: str, key_pem: str) -> None:
        """The key of the host's client certificate, from its next change on."""
        self._keys[host_id] = key_pem

    def _line(self, host: HostEntry) -> str:
        return json.dumps(self._document(host)) + "\n"

    def _document(self, host: HostEntry) -> dict[str, object]:
        return {
            "host_id": host.host_id,
            "generation": self._generation,
            "digest": "",
            "entry_json": encode_entry(host),
            "key_pem": self._keys.get(host.host_id, ""),
            "downstream_key_pem": self.downstream_keys.get(host.host_id, ""),
        }

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Starts it and returns at once. `environment` is added to that of this process."""
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.proxyworker.worker_main", str(self._path)],
                cwd=BASE_DIR,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        self.start()
        try:
            eventually(self.is_ready, within_s=PATIENCE_S)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Whatever it does just now."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an operator does it. The exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def is_ready(self) -> bool:
        """By its own word. Fails when it has ended."""
        assert self.process.poll() is None, self.log
        try:
            return self.ask("/readyz").status == 200
        except OSError:
            return False

    def ask(self, path: str) -> Answer:
        """The management listener's answer."""
        return request(self.management, path)

    def get(self, host: str, path: str = "/") -> Answer:
        """The answer to a request through the proxy, on a connection of its own."""
        return request(self.http, path, headers={"Host": host})

    def connect(self) -> socket.socket:
        """A connection to the http listener."""
        return socket.create_connection(("127.0.0.1", self.http), timeout=PATIENCE_S)

    @property
    def log(self) -> str:
        """All that it printed."""
        return self._log_path.read_text()

    @property
    def rss_bytes(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class Upstream:
    """`with Upstream() as upstream:` answers every GET with `name`, in a thread."""

    def __init__(self, name: str = "upstream") -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not worth a line."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
