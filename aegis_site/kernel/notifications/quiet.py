"""Quiet hours: a piece of each day, in somebody's time zone.

Laws of this module: pure; the beginning belongs to them and the end does not; they may go past midnight.
"""

import datetime
import zoneinfo


def end_of_quiet(
    moment: datetime.datetime,
    *,
    begins: datetime.time | None,
    ends: datetime.time | None,
    zone: zoneinfo.ZoneInfo,
) -> datetime.datetime | None:
    """When the quiet hours end that `moment` is in; None when it is in none.

    Of a time that a clock shows twice in the autumn, the first counts; one that it leaves out in the spring is an hour
    later (PEP 495).
    """
    if begins is None or ends is None:
        return None
    local = moment.astimezone(zone)
    time = local.time()
    if begins < ends:
        is_quiet, days = begins <= time < ends, 0
    else:
        is_quiet, days = time >= begins or time < ends, int(time >= begins)
    if not is_quiet:
        return None
    date = local.date() + datetime.timedelta(days=days)
    end = datetime.datetime.combine(date, ends, tzinfo=zone).astimezone(datetime.UTC)
    # In the hour that the clock shows twice, the first of two ends may be over.
    return max(end, moment)
