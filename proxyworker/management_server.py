"""`/healthz`, `/readyz` and `/metrics` of a worker, on a listener of its own."""

import json
from collections.abc import Callable

from twisted.web.http import NOT_ALLOWED, NOT_FOUND, OK, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

METRICS_CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


# What a page gives: its status, content type and body.
Page = Callable[[], tuple[int, bytes, bytes]]


class _Pages(Resource):
    """All pages, by their path. Twisted's own pages for errors are deprecated and show more than needed."""

    isLeaf = True

    def __init__(self, pages: dict[bytes, Page]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pages = pages

    def render(self, request: Request) -> bytes:
        page = self._pages.get(request.path)
        if page is None or request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(NOT_FOUND if page is None else NOT_ALLOWED)
            return b""
        status, content_type, body = page()
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", content_type)
        request.setHeader(b"Cache-Control", b"no-store")
        return body


class _QuietSite(Site):
    """A site that writes no access log and shows no traceback."""

    noisy = False
    displayTracebacks = False

    def log(self, request: object) -> None:
        """Scrapes and probes are not worth a line."""


def management_site(*, problem: Callable[[], str], metrics: Callable[[], bytes]) -> Site:
    """The site. `problem()` says why the worker is not ready; empty: it is."""

    def healthz() -> tuple[int, bytes, bytes]:
        return OK, b"application/json", b'{"status": "ok"}'

    def readyz() -> tuple[int, bytes, bytes]:
        reason = problem()
        document = {"status": "unavailable", "reason": reason} if reason else {"status": "ready"}
        return SERVICE_UNAVAILABLE if reason else OK, b"application/json", json.dumps(document).encode()

    root = _Pages(
        {b"/healthz": healthz, b"/readyz": readyz, b"/metrics": lambda: (OK, METRICS_CONTENT_TYPE, metrics())}
    )
    return _QuietSite(root, timeout=30)  # type: ignore[no-untyped-call]
