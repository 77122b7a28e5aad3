"""From a request's id to its line, its upstreams, and what failed there.

Laws of this module: the log is asked for what happened, the database for what workers reported of it, which is known
from other machines too. An id that a trusted proxy chose may be there more than once.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from hosts.logs.entries import LogEntry
from hosts.logs.files import log_directory, log_files
from hosts.logs.filters import LogFilter
from hosts.logs.search import search
from hosts.models import UpstreamFailure

MAX_LINES = 50
# A proxy in front that asks again uses the same id.
AROUND = datetime.timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """An attempt at an upstream that failed. `phase` and `reason` are empty when only its code is known."""

    host: str
    upstream: str
    phase: str
    code: str
    reason: str
    at: datetime.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What is known of the requests with one id, newest first: `answers` are lines of access logs.

    `cursor` and `searched_to` as in `hosts.logs.search.Found`: not everything was looked at yet.
    """

    request_id: str
    answers: Sequence[LogEntry] = ()
    failures: Sequence[FailedAttempt] = ()
    cursor: str = ""
    searched_to: datetime.datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything was found."""
        return bool(self.answers or self.failures)


def trace_of(request_id: str, *, before: str = "") -> Trace:
    """What is known of this id. One query. Raises LogsUnreadable and TooManySearches."""
    reported = UpstreamFailure.objects.filter(request_id=request_id).select_related("upstream__host")
    directory = log_directory()
    files = [] if directory is None else log_files(directory, kinds=("access", "errors"))
    first = search(files, LogFilter(request_id=request_id), before=before, limit=1)
    entries = list[LogEntry]()
    if first.entries:
        # Whatever else there is of this id is near: nothing older has to be looked at.
        last = first.entries[0]
        took = datetime.timedelta(milliseconds=last.duration_ms or 0)
        near = LogFilter(request_id=request_id, since=last.time - took - AROUND)
        entries = search(files, near, before=before, limit=MAX_LINES).entries
    return Trace(
        request_id=request_id,
        answers=[entry for entry in entries if entry.kind == "access"],
        failures=_failures(entries, list(reported)),
        cursor="" if entries else first.cursor,
        searched_to=None if entries else first.searched_to,
    )


def _failures(entries: Sequence[LogEntry], reported: Sequence[UpstreamFailure]) -> list[FailedAttempt]:
    """Each once, from where most is known of it."""
    found = [_from_line(entry) for entry in entries if entry.kind == "errors"]
    told = {(failure.host, failure.upstream, failure.code) for failure in found}
    # The last ones, as workers reported them: all that there is of other machines, or without files.
    last = [_from_report(failure) for failure in reported]
    found += [failure for failure in last if (failure.host, failure.upstream, failure.code) not in told]
    # An error log is rotated earlier than its access log when much fails.
    codes = {failure.code for failure in found}
    return found + [_from_line(entry) for entry in entries if entry.code and entry.code not in codes]


def _from_line(entry: LogEntry) -> FailedAttempt:
    return FailedAttempt(
        host=entry.host,
        upstream=entry.upstream,
        phase=entry.phase,
        code=entry.code,
        reason=entry.reason,
        at=entry.time,
    )


def _from_report(failure: UpstreamFailure) -> FailedAttempt:
    return FailedAttempt(
        host=failure.upstream.host.name,
        upstream=str(failure.upstream),
        phase=failure.phase,
        code=failure.code,
        reason=failure.reason,
        at=failure.at,
    )
