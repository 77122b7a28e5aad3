"""Weeks of health checks in minutes: rows as recording leaves them, with beat's work in between.

The shortcut: a minute of an upstream is one of a few that were counted check by check, and is inserted as it is after
its last check. `test_month` holds such rows against those that recording writes. A row that was updated in place five
times takes no other room than one that was inserted once.
"""

import datetime
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from healthchecks.models import HealthState, HealthSummary, HealthTransition
from healthchecks.retention import condense
from healthchecks.summaries import HOUR_S, MINUTE_S, count_check

CHECKS_A_MINUTE = 6  # an interval of ten seconds
CODE = "connection_refused"
# Each upstream is down for so many minutes, at a time of day of its own.
DOWN_MINUTES = 7

_FIELDS = [field for field in HealthSummary._meta.concrete_fields if not field.primary_key]
_COLUMNS = [field.column for field in _FIELDS]
_UPSTREAM = HealthSummary._meta.get_field("upstream")


@dataclass(frozen=True, slots=True)
class Size:
    """What a database has after so many days."""

    days: int
    summaries: int
    transitions: int
    megabytes: float
    # Of this process, for an hour of all upstreams; the most since the size before.
    condense_s: float


def durations_ms(kind: int) -> list[int]:
    """Those of the checks of one of sixteen kinds of minutes."""
    return [3 + (kind * 37 + number * 11) % 60 for number in range(CHECKS_A_MINUTE)]


def minute(upstream_id: uuid.UUID, *, kind: int, start_s: int) -> HealthSummary:
    """Counted check by check. Of kind -1 all fail."""
    row = HealthSummary(upstream_id=upstream_id, span_s=MINUTE_S, start_s=start_s)
    for duration_ms in durations_ms(kind):
        count_check(row, is_ok=kind >= 0, duration_ms=duration_ms, code="" if kind >= 0 else CODE)
    return row


def simulate(upstream_ids: Sequence[uuid.UUID], *, days: int, begin_s: int, measured: Sequence[int]) -> Iterator[Size]:
    """So many days, hour by hour. Yields what there is after each day in `measured`."""
    keys = [_UPSTREAM.get_db_prep_save(upstream_id, connection) for upstream_id in upstream_ids]
    _prepare(keys)
    condense_s = 0.0
    for hour in range(days * 24):
        start_s = begin_s + hour * HOUR_S
        with transaction.atomic():
            _insert(upstream_ids, start_s=start_s, hour_of_day=hour % 24)
        began_s = time.process_time()
        condense(now_s=start_s + HOUR_S)
        condense_s = max(condense_s, time.process_time() - began_s)
        if (hour + 1) % 24 == 0 and (day := (hour + 1) // 24) in measured:
            yield _size(day, condense_s)
            condense_s = 0.0


def _prepare(keys: Sequence[object]) -> None:
    """Kinds, minutes and upstreams where the database itself combines them: they are 30 000 rows an hour."""
    kinds = [[kind, *_values(minute(uuid.UUID(int=0), kind=kind, start_s=0))] for kind in range(-1, 16)]
    tables = {
        "month_kinds": (["kind", *_COLUMNS], kinds),
        "month_minutes": (["number"], [[number] for number in range(60)]),
        "month_upstreams": (["number", "key"], list(enumerate(keys))),
    }
    with connection.cursor() as cursor:
        for name, (columns, rows) in tables.items():
            cursor.execute(f"DROP TABLE IF EXISTS temp.{name}")
            cursor.execute(f"CREATE TEMP TABLE {name} ({', '.join(columns)})")
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)  # noqa: S608 (names that stand here)


def _insert(upstream_ids: Sequence[uuid.UUID], *, start_s: int, hour_of_day: int) -> None:
    """An hour of each upstream, minute by minute, as the rows come."""
    from_others = {"start_s": f"%s + month_minutes.number * {MINUTE_S}", "upstream_id": "month_upstreams.key"}
    values = [from_others.get(name, f"month_kinds.{name}") for name in _COLUMNS]
    statement = f"""
        INSERT INTO {HealthSummary._meta.db_table} ({", ".join(_COLUMNS)})
        SELECT {", ".join(values)}
        FROM month_minutes CROSS JOIN month_upstreams JOIN month_kinds ON kind = CASE
            WHEN month_upstreams.number %% 24 = %s AND month_minutes.number < {DOWN_MINUTES} THEN -1
            ELSE (month_upstreams.number + month_minutes.number) %% 16
        END
        ORDER BY month_minutes.number, month_upstreams.number
    """  # noqa: S608 (numbers and names that stand here)
    with connection.cursor() as cursor:
        cursor.execute(statement, [start_s, hour_of_day])
    down = [upstream_id for index, upstream_id in enumerate(upstream_ids) if index % 24 == hour_of_day]
    HealthTransition.objects.bulk_create(
        HealthTransition(
            upstream_id=upstream_id,
            at=datetime.datetime.fromtimestamp(start_s + seconds, tz=datetime.UTC),
            previous=previous,
            state=state,
            code=code,
            message=code and "The upstream refused the connection.",
        )
        for upstream_id in down
        for seconds, previous, state, code in (
            (20, HealthState.HEALTHY, HealthState.UNHEALTHY, CODE),
            (DOWN_MINUTES * MINUTE_S + 10, HealthState.UNHEALTHY, HealthState.HEALTHY, ""),
        )
    )


def _values(row: HealthSummary) -> list[object]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in _FIELDS]


def _size(days: int, condense_s: float) -> Size:
    with connection.cursor() as cursor:
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = cursor.execute("PRAGMA page_size").fetchone()
    return Size(
        days,
        HealthSummary.objects.count(),
        HealthTransition.objects.count(),
        round(pages * page_bytes / 1e6, 1),
        round(condense_s, 2),
    )
