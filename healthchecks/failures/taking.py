"""From the counts of the workers to the groups of the inbox.

Laws of this module: a count is taken by its difference to what was taken before, in the transaction that adds it to its
group, so a report that is lost, late or repeated neither loses nor doubles anything.
"""

import datetime

from django.db import transaction
from django.db.models import F

from healthchecks.failures.models import FailureCount, Source
from healthchecks.failures.sightings import Sighting, record_sightings
from hosts.models import Upstream

# Taken at once; what is left waits for the next sweep.
BATCH = 1000


@transaction.atomic
def take_counts(*, now: datetime.datetime) -> int:
    """Moves what is new into the groups. How many rows had something new. One query when none has."""
    rows = list(
        FailureCount.objects.select_for_update(skip_locked=True).filter(count__gt=F("counted")).order_by("pk")[:BATCH]
    )
    if not rows:
        return 0
    hosts = dict(Upstream.objects.filter(pk__in={row.upstream_id for row in rows}).values_list("pk", "host_id"))
    sightings = [
        Sighting(
            host_id=hosts[row.upstream_id],
            upstream_id=row.upstream_id,
            code=row.code,
            message=row.message,
            at=row.at,
            source=Source.TRAFFIC,
            count=row.count - row.counted,
            request_id=row.request_id,
        )
        for row in rows
        if row.upstream_id in hosts
    ]
    for row in rows:
        # As read: a worker may have counted on meanwhile.
        row.counted = row.count
    FailureCount.objects.bulk_update(rows, ["counted"])
    record_sightings(sightings, now=now)
    return len(rows)
