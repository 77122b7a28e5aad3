"""What a page costs: the CPU time of this process's own work, in the application itself.

The test client records each template, which doubles what a page costs; so requests go to the WSGI application.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client

from aegis_site.wsgi import application


def get(client: Client, url: str) -> bytes:
    """The body that a web worker would send."""
    path, _, query = url.partition("?")
    started: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_ACCEPT": "application/json" if path.startswith("/api/") else "text/html",
        "HTTP_COOKIE": client.cookies.output(header="", sep=";").strip(),
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    response = application(environ, lambda status, headers: started.append(status))
    body = b"".join(response)
    response.close()
    assert started == ["200 OK"]
    return body


def plain_work() -> None:
    """What templates and serializers do most: look up, turn into text, escape, join."""
    rows = [{"name": f"host{number:04}", "text": "x" * 50, "number": number} for number in range(2000)]
    for _ in range(6):
        "".join(f"<td>{str(value).replace('&', '&amp;')}</td>" for row in rows for value in row.values())


def work_s(run: Callable[[], Any]) -> float:
    """What it takes this process."""
    before = time.process_time()
    run()
    return time.process_time() - before


@contextmanager
def one_connection() -> Iterator[None]:
    """The test's own, in whose transaction its rows are: a request would close it before and after."""
    for boundary in (request_started, request_finished):
        boundary.disconnect(close_old_connections)
    yield
    for boundary in (request_started, request_finished):
        boundary.connect(close_old_connections)


def too_slow(client: Client, bounds: Mapping[str, float], *, rounds: int, max_rounds: int) -> dict[str, float]:
    """Of these URLs, those that take so many times `plain_work` or more, measured until none does, or too often."""
    yardstick, taken = float("inf"), dict.fromkeys(bounds, float("inf"))
    slow: dict[str, float] = {}
    for number in range(1, max_rounds + 1):
        yardstick = min(yardstick, work_s(plain_work))
        for url in bounds:
            taken[url] = min(taken[url], work_s(lambda url=url: get(client, url)))
        slow = {url: taken[url] / yardstick for url in bounds if taken[url] / yardstick >= bounds[url]}
        if number >= rounds and not slow:
            break
    print({url: round(seconds, 3) for url, seconds in taken.items()}, round(yardstick, 4))  # noqa: T201
    return slow
