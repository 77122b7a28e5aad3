"""The access log of real worker processes."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from proxyworker.log_files import LOCK_FILE
from tests.proxyworker.test_service import host, read_until
from tests.proxyworker.worker import PATIENCE_S, Upstream, Worker
from tests.support.polling import eventually
from tests.support.ports import free_port

SECRETS = b"Authorization: Bearer canary\r\nCookie: session=canary\r\nX-Secret: canary\r\n"


def lines(directory: Path) -> list[dict[str, Any]]:
    """All lines in all files, the older ones too; each must be whole."""
    return [
        json.loads(line)
        for path in directory.iterdir()
        if path.name != LOCK_FILE
        for line in path.read_text().splitlines()
    ]


def ask(worker: Worker, number: int, times: int) -> None:
    """So many requests on one connection."""
    with worker.connect() as client:
        for time in range(times):
            target = b"/%d/%d" % (number, time)
            client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: app.test\r\n" + SECRETS + b"\r\n")
            read_until(client, b"\r\n\r\none")


def metric(worker: Worker, name: str) -> float:
    text = worker.ask("/metrics").body.decode()
    return next(s.value for family in text_string_to_metric_families(text) for s in family.samples if s.name == name)


def test_two_workers_write_and_rotate_the_same_files(tmp_path: Path) -> None:
    """Every request of both has one whole line, in the file of its host, and no line has a secret."""
    log = tmp_path / "log"
    settings = {"destination": str(log), "max_bytes": 20_000, "backups": 100}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        Upstream("one") as one,
        Worker(tmp_path / "a", host(one.port), access_log=settings) as first,
        Worker(tmp_path / "b", host(one.port), access_log=settings) as second,
    ):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda worker: ask(worker, worker.http, 100), (first, second)))
        assert first.get("unknown.test").status == 404
        # Nothing is kept back until the end.
        eventually(lambda: len(lines(log)) == 201, within_s=PATIENCE_S)
        ask(second, 0, 1)
        assert first.stop() == second.stop() == 0
        assert "Traceback" not in first.log + second.log
    written = lines(log)
    targets = [line["target"] for line in written if line["host"] == "app.test"]
    expected = [f"/{worker.http}/{time}" for worker in (first, second) for time in range(100)]
    assert sorted(targets) == sorted([*expected, "/0/0"])
    assert [json.loads(line)["status"] for line in (log / "~no-host.log").read_text().splitlines()] == [404]
    files = [path for path in log.iterdir() if path.name.startswith("app.test.log")]
    assert len(files) > 2
    assert max(path.stat().st_size for path in files) < 20_000 + 20_000
    assert not any("canary" in path.read_text() for path in log.iterdir())


def test_failed_attempts_have_a_file_of_their_own(tmp_path: Path) -> None:
    """With what failed and why, by the id that the client was told; in JSON, whatever the access log's format is."""
    log, port = tmp_path / "log", free_port()
    with (
        Worker(tmp_path, host(port), access_log={"destination": str(log), "form": "combined"}) as worker,
    ):
        answer = worker.get("app.test")
        assert answer.status == 502
        eventually((log / "app.test~errors.log").exists, within_s=PATIENCE_S)
        assert worker.stop() == 0
    (line,) = [json.loads(line) for line in (log / "app.test~errors.log").read_text().splitlines()]
    told = dict(answer.headers)["X-Request-ID"]
    assert f"request id: {told}" in answer.body.decode()
    assert line.pop("time").endswith("Z")
    assert "refused" in line.pop("reason")
    assert line == {
        "host": "app.test",
        "request_id": told,
        "upstream": f"http://127.0.0.1:{port}",
        "phase": "connect",
        "code": "connection_refused",
    }
    assert (log / "app.test.log").read_text().count(" 502 ") == 1


def test_standard_output(tmp_path: Path) -> None:
    """In the combined format, among the worker's own lines."""
    with (
        Upstream("one") as one,
        Worker(tmp_path, host(one.port), access_log={"destination": "stdout", "form": "combined"}) as worker,
    ):
        ask(worker, 1, 1)
        assert worker.stop() == 0
        assert re.search(r'^127\.0\.0\.1 - - \[[^]]+\] "GET /1/0 HTTP/1\.1" 200 \d+ "-" "-"$', worker.log, re.MULTILINE)
        assert "canary" not in worker.log


def test_a_directory_that_cannot_be_written_harms_no_traffic(tmp_path: Path) -> None:
    """It is told once and counted."""
    (tmp_path / "file").write_text("")
    with (
        Upstream("one") as one,
        Worker(tmp_path, host(one.port), access_log={"destination": str(tmp_path / "file")}) as worker,
    ):
        ask(worker, 1, 20)
        eventually(lambda: metric(worker, "aegis_access_log_dropped_total") == 20, within_s=PATIENCE_S)
        assert worker.stop() == 0
        assert worker.log.count("access log cannot be written") == 1
