"""`/healthz`, `/readyz` and `/metrics` of a worker or a group of workers, on a listener of its own."""

import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, NOT_ALLOWED, NOT_FOUND, OK, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

log = logging.getLogger("aegis.proxy")

METRICS_CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


# What a page gives: its status, content type and body.
Answer = tuple[int, bytes, bytes]
Page = Callable[[], Coroutine[Any, Any, Answer]]


class _Pages(Resource):
    """All pages, by their path. Twisted's own pages for errors are deprecated and show more than needed."""

    isLeaf = True

    def __init__(self, pages: dict[bytes, Page]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pages = pages

    def render(self, request: Request) -> bytes | int:
        page = self._pages.get(request.path)
        if page is None or request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(NOT_FOUND if page is None else NOT_ALLOWED)
            return b""
        Deferred.fromCoroutine(page()).addErrback(_failed).addCallback(_write, request)
        return NOT_DONE_YET


def _failed(failure: Failure) -> Answer:
    log.error("a management page failed: %s", failure.getTraceback())
    return INTERNAL_SERVER_ERROR, b"text/plain", b""


def _write(answer: Answer, request: Request) -> None:
    if request.channel is None:  # the client went while its answer was made
        return
    status, content_type, body = answer
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.setHeader(b"Cache-Control", b"no-store")
    request.write(body)
    request.finish()


class _QuietSite(Site):
    """A site that writes no access log and shows no traceback."""

    noisy = False
    displayTracebacks = False

    def log(self, request: object) -> None:
        """Scrapes and probes are not worth a line."""


def management_site(
    *,
    problem: Callable[[], str] | Callable[[], Deferred[str]],
    metrics: Callable[[], bytes] | Callable[[], Deferred[bytes]],
) -> Site:
    """The site. `problem()` says why the worker is not ready; empty: it is."""

    async def healthz() -> Answer:
        return OK, b"application/json", b'{"status": "ok"}'

    async def readyz() -> Answer:
        reason = await maybeDeferred(problem)
        document = {"status": "unavailable", "reason": reason} if reason else {"status": "ready"}
        return SERVICE_UNAVAILABLE if reason else OK, b"application/json", json.dumps(document).encode()

    async def metrics_page() -> Answer:
        return OK, METRICS_CONTENT_TYPE, await maybeDeferred(metrics)

    root = _Pages({b"/healthz": healthz, b"/readyz": readyz, b"/metrics": metrics_page})
    return _QuietSite(root, timeout=30)  # type: ignore[no-untyped-call]
