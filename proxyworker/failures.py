"""The last failure of each upstream for each reason, until the control plane has it.

Laws of this module: bounded by MAX_REPORTED_FAILURES, the latest stay. A failure counts as reported when the feed has
taken the report, not when it was made; one that came meanwhile is new again. Counts go on from report to report, so
that one which is lost, or made twice, falsifies nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from proxyworker.errors import UpstreamError
from proxyworker.snapshot import MAX_REPORTED_FAILURES, UpstreamFailure


class LastFailures:
    """`unix_time` tells what time it is."""

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._counts: Counter[tuple[str, str]] = Counter()
        self._code_counts: Counter[tuple[str, str, str]] = Counter()
        # In the order of their times. Made into UpstreamFailure only for a report: they may come by the thousand.
        self._new: dict[tuple[str, str, str], tuple[UpstreamError, bytes, float]] = {}

    def add(self, host_id: str, upstream_id: str, error: UpstreamError, request_id: bytes) -> None:
        """An attempt at an upstream failed."""
        key = (host_id, upstream_id, error.code)
        self._counts[host_id, upstream_id] += 1
        self._code_counts[key] += 1
        self._new.pop(key, None)
        self._new[key] = (error, request_id, self._unix_time())
        if len(self._new) > MAX_REPORTED_FAILURES:
            del self._new[next(iter(self._new))]

    def to_report(self) -> tuple[UpstreamFailure, ...]:
        """Those that are new since the last report, the latest of each upstream and code, oldest first."""
        return tuple(
            UpstreamFailure(
                host_id=host_id,
                upstream_id=upstream_id,
                phase=error.phase.value,
                code=code,
                reason=error.reason,
                request_id=request_id.decode("ascii", "backslashreplace"),
                at=at,
                count=self._counts[host_id, upstream_id],
                code_count=self._code_counts[host_id, upstream_id, code],
            )
            for (host_id, upstream_id, code), (error, request_id, at) in self._new.items()
        )

    def reported(self, failures: Iterable[UpstreamFailure]) -> None:
        """The control plane has these."""
        for failure in failures:
            key = (failure.host_id, failure.upstream_id, failure.code)
            if self._code_counts[key] == failure.code_count:
                self._new.pop(key, None)
