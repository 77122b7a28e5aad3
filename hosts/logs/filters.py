"""Which lines are wanted.

Laws of this module: pure. `needles` is a shortcut that may let a line pass but never loses one: what a line of JSON
must hold, byte for byte, to be wanted.
"""

import datetime
import re
from dataclasses import dataclass

from django.db.models import TextChoices

from hosts.logs.entries import LogEntry
from proxyworker.log_files import LogKind

MAX_TEXT_CHARACTERS = 300
STATUS_PATTERN = "[1-5](?:xx|[0-9]{2})"
# What the worker takes from a trusted proxy; its own ids are among these.
REQUEST_ID_PATTERN = "[A-Za-z0-9._:/+=@-]{1,128}"

# Stands for itself in JSON as the worker writes it.
_is_plain = re.compile(r"[ !#-\[\]-~]+").fullmatch


class View(TextChoices):
    """What is looked at."""

    REQUESTS = "requests", "Requests"
    ERRORS = "errors", "Errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Empty or None: whatever it is. `since` is included, `until` is not.

    `view` "requests": the access log. "errors": of the access log what failed, and the failed attempts at upstreams.
    `status` is one or a class: 502, 5xx. `path` and `upstream` are parts of the value, `client` is its beginning.
    """

    view: str = View.REQUESTS
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    status: str = ""
    method: str = ""
    path: str = ""
    client: str = ""
    upstream: str = ""
    code: str = ""
    request_id: str = ""

    @property
    def kinds(self) -> frozenset[LogKind]:
        """Of which files lines can be wanted."""
        if self.view == View.REQUESTS:
            return frozenset(("access",))
        # Of an attempt nothing is known of what the client sent.
        is_of_requests = bool(self.status or self.method or self.path or self.client)
        return frozenset(("access",)) if is_of_requests else frozenset(("access", "errors"))

    def needles(self, kind: LogKind) -> list[bytes]:
        """All of these stand in each line of JSON that is wanted."""
        found = [
            f'"status":{self.status.removesuffix("xx")}' if self.status else "",
            _exactly("method", self.method),
            _within(self.path),
            f'"client":"{_within(self.client)}' if _within(self.client) else "",
            _within(self.upstream),
            _exactly("code" if kind == "errors" else "upstream_failure", self.code),
            _exactly("request_id", self.request_id),
        ]
        return [needle.encode() for needle in found if needle]

    def wants(self, entry: LogEntry) -> bool:
        """Whether this is one of them, its time included."""
        return (
            (self.view == View.REQUESTS or entry.is_failure)
            and _has_status(entry.status, self.status)
            and self.method in ("", entry.method)
            and self.path in entry.target
            and entry.client.startswith(self.client)
            and self.upstream in entry.upstream
            and self.code in ("", entry.code)
            and self.request_id in ("", entry.request_id)
            and (self.since is None or entry.time >= self.since)
            and (self.until is None or entry.time < self.until)
        )


def _has_status(status: int | None, wanted: str) -> bool:
    if not wanted:
        return True
    return status is not None and (str(status) == wanted or (wanted.endswith("xx") and status // 100 == int(wanted[0])))


def _exactly(name: str, value: str) -> str:
    return f'"{name}":"{value}"' if _within(value) else ""


def _within(value: str) -> str:
    return value if _is_plain(value) else ""
