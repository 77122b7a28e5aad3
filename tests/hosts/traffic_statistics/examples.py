"""Samples as workers tell them."""

import datetime
import uuid

from hosts.traffic_statistics.recording import record_traffic
from proxyworker.snapshot import TRAFFIC_COLUMNS, MinuteOfTraffic

# The begin of an hour.
NOW_S = 1_800_000_000 // 3600 * 3600
RUN = "0123456789abcdef"


def minute(
    host_id: uuid.UUID | str, start_s: int, *, generation: int = 1, part: int = 0, **counts: int
) -> MinuteOfTraffic:
    """What a worker counted; columns that are not named are 0."""
    numbers = tuple(counts.pop(column, 0) for column in TRAFFIC_COLUMNS)
    assert not counts
    return MinuteOfTraffic(host_id=str(host_id), generation=generation, start_s=start_s, part=part, counts=numbers)


def told(*traffic: MinuteOfTraffic, run: str = RUN, at_s: float = NOW_S) -> None:
    """A worker's report is kept."""
    record_traffic(run=run, reported=traffic, now=datetime.datetime.fromtimestamp(at_s, tz=datetime.UTC))
