"""quiet: when the quiet hours end."""

import datetime
import zoneinfo

import pytest

from aegis_site.kernel.notifications.quiet import end_of_quiet

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("moment", "begins", "ends", "expected"),
    [
        ("2026-05-04 19:59:59", "22:00", "07:00", None),
        ("2026-05-04 20:00:00", "22:00", "07:00", "2026-05-05 05:00:00"),
        ("2026-05-04 23:30:00", "22:00", "07:00", "2026-05-05 05:00:00"),
        ("2026-05-05 05:00:00", "22:00", "07:00", None),
        ("2026-05-04 10:30:00", "12:00", "13:00", "2026-05-04 11:00:00"),
        # The clock goes from two to three: the night is an hour shorter.
        ("2026-03-28 22:00:00", "22:00", "07:00", "2026-03-29 05:00:00"),
        # And from three to two: half past two is there twice, and the second time the end is over.
        ("2026-10-25 00:45:00", "22:00", "02:50", "2026-10-25 00:50:00"),
        ("2026-10-25 01:45:00", "22:00", "02:50", "2026-10-25 01:45:00"),
    ],
)
def test_the_end_of_the_quiet_hours(moment: str, begins: str, ends: str, expected: str | None) -> None:
    """In local time, past midnight and across changes of the clock."""
    end = end_of_quiet(
        utc(moment),
        begins=datetime.time.fromisoformat(begins),
        ends=datetime.time.fromisoformat(ends),
        zone=BERLIN,
    )
    assert end == (utc(expected) if expected else None)


def test_without_quiet_hours_it_is_never_quiet() -> None:
    """Both are empty."""
    assert end_of_quiet(utc("2026-05-04 03:00:00"), begins=None, ends=None, zone=BERLIN) is None
