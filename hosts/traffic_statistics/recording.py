"""Writes down what the workers tell of their traffic.

Laws of this module: it runs in the worker's process, off the reactor, so it imports nothing that is not there. A row
is told from the begin of its minute on and takes its own place, so a report that is lost, late or repeated falsifies
nothing.
"""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from hosts.traffic_statistics.models import ALL_HOSTS, TrafficSample
from hosts.traffic_statistics.windows import DAY_S, HOUR_S, MINUTE_S
from proxyworker.snapshot import MAX_REPORTED_TRAFFIC, TRAFFIC_COLUMNS, MinuteOfTraffic

# Older than whatever is shown, or from a clock that is far ahead.
OLDEST_S = 8 * DAY_S
NEWEST_S = HOUR_S
MAX_COUNT = 2**31 - 1

_KEY = ("host_id", "span_s", "start_s", "source", "generation")
_TOLD = ("reported_at", *TRAFFIC_COLUMNS)
_UPSERT = (
    f"INSERT INTO {TrafficSample._meta.db_table} ({', '.join((*_KEY, *_TOLD))}) "  # noqa: S608 (names of this module)
    f"VALUES ({', '.join(['%s'] * len((*_KEY, *_TOLD)))}) ON CONFLICT ({', '.join(_KEY)}) "
    f"DO UPDATE SET {', '.join(f'{column} = EXCLUDED.{column}' for column in _TOLD)}"
)


@transaction.atomic
def record_traffic(*, run: str, reported: Sequence[MinuteOfTraffic], now: datetime.datetime) -> None:
    """Keep what the worker of this run counted. One statement, run for each row."""
    now_s, reported_at = now.timestamp(), connection.ops.adapt_datetimefield_value(now)
    rows = [
        (
            *(host_id, MINUTE_S, traffic.start_s, f"{run[:32]}.{traffic.part}", traffic.generation),
            reported_at,
            *traffic.counts,
        )
        for traffic in reported[:MAX_REPORTED_TRAFFIC]
        if now_s - OLDEST_S <= traffic.start_s <= now_s + NEWEST_S
        and max(traffic.counts) <= MAX_COUNT
        and (host_id := _identifier(traffic.host_id)) is not None
    ]
    with connection.cursor() as cursor:
        # Not by model objects: with a thousand hosts those would take the interpreter from the traffic for much longer.
        cursor.executemany(_UPSERT, rows)


def _identifier(text: str) -> Any:
    """As the database has it; None when it is none."""
    try:
        host_id = uuid.UUID(text) if text else ALL_HOSTS
    except ValueError:
        return None
    return host_id if connection.features.has_native_uuid_field else host_id.hex
