"""What is forgotten of the history: samples after a week, and what upstreams left behind that are gone."""

import datetime

from django.db.models import Exists, OuterRef

from healthchecks.models import HealthSample, HealthTransition
from hosts.models import Upstream

KEPT_SAMPLES = datetime.timedelta(days=7)
# Deleted at once; a longer transaction would hold up those who write.
BATCH = 5000
# Of one run: a million rows. What is left waits for the next.
MAX_BATCHES = 200


def forget_old_samples(*, now: datetime.datetime) -> int:
    """Delete what is older than a week, in batches. How many there were."""
    old = HealthSample.objects.filter(at__lt=now - KEPT_SAMPLES).order_by("at")
    forgotten = 0
    for _ in range(MAX_BATCHES):
        count, _ = HealthSample.objects.filter(pk__in=old.values("pk")[:BATCH]).delete()
        forgotten += count
        if count < BATCH:
            break
    return forgotten


def forget_history_of_gone_upstreams() -> int:
    """Delete changes of state that were written while their upstream was being deleted. How many there were."""
    existing = Upstream.objects.filter(pk=OuterRef("upstream_id"))
    count, _ = HealthTransition.objects.filter(~Exists(existing)).delete()
    return count
