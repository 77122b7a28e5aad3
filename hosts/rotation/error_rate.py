"""Whether requests of a host fail more often since its certificate was exchanged.

Laws of this module:
- Workers count by the host's entry that answered (`hosts.traffic_statistics`), so what the previous identity met and
  what the new one does are told apart, whatever was under way at the promotion.
- A rise has to be certain: bounds of both rates are compared, not the rates, so a few requests decide nothing.
"""

import datetime
import math
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from hosts.models import CompiledHost
from hosts.publish import announce
from hosts.rotation.models import Rotation
from hosts.selectors import latest_generation
from hosts.traffic_statistics.models import TrafficSample
from hosts.traffic_statistics.plots import percent
from hosts.traffic_statistics.sums import Counts, summed_all
from hosts.traffic_statistics.windows import HOUR_S, MINUTE_S

ERRORS_ROSE = "errors_rose"

# So many requests have to fail, by more than that share of all, and so many times as often as before.
LEAST_FAILED = 10
LEAST_RATE = 0.05
FACTOR = 2.0
# Of the normal distribution: either bound of a rate is passed by chance once in two hundred times.
_Z = 2.58


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How many requests there were, and how many of them failed."""

    requests: int
    failed: int

    @classmethod
    def of(cls, counts: Counts) -> "Answers":
        """Refusals, and 5xx or failed attempts at upstreams, whichever are more: most attempts that fail end as 5xx."""
        failed = counts.of("refusals") + max(counts.of("server_errors"), counts.of("upstream_failures"))
        return cls(requests=counts.requests, failed=min(failed, counts.requests))

    @property
    def rate(self) -> float | None:
        """The share that failed; None when there was none."""
        return self.failed / self.requests if self.requests else None

    def bounds(self) -> tuple[float, float]:
        """Between which the rate lies that these are a sample of (Wilson's score interval). 0 and 1 for no request."""
        if not self.requests:
            return 0.0, 1.0
        share, square = self.failed / self.requests, _Z * _Z / self.requests
        middle = share + square / 2
        spread = _Z * math.sqrt((share * (1 - share) + square / 4) / self.requests)
        return (middle - spread) / (1 + square), (middle + spread) / (1 + square)


def has_risen(*, before: Answers, since: Answers) -> bool:
    """Whether requests fail clearly more often than before. Pure."""
    _, highest_before = before.bounds()
    lowest_since, _ = since.bounds()
    return since.failed >= LEAST_FAILED and lowest_since >= max(LEAST_RATE, FACTOR * highest_before)


def rise_since_promotion(rotation: Rotation) -> str:
    """What has risen, in words; empty: nothing that is certain. At most three queries."""
    generation = _generation(rotation)
    if rotation.promoted_at is None or generation is None:
        return ""
    since = Answers.of(summed_all(TrafficSample.objects.filter(host_id=rotation.host_id, generation__gte=generation)))
    if since.failed < LEAST_FAILED:
        return ""
    before = Answers.of(summed_all(_before(rotation, rotation.promoted_at, generation)))
    if not has_risen(before=before, since=since):
        return ""
    return (
        f"{percent(since.rate)} of {since.requests} requests with the new certificate failed "
        f"(401, 403, 495, 496 or 5xx), {percent(before.rate)} of {before.requests} in the hour before"
    )


def hear_workers() -> None:
    """Have the workers tell now what they counted, and not with their next look in some seconds."""
    announce(latest_generation())


def _generation(rotation: Rotation) -> int | None:
    """That of the host's entry with the new certificate; None: it is not published yet."""
    compiled = CompiledHost.objects.filter(pk=rotation.host_id, source_updated_at__gte=rotation.promoted_at)
    return compiled.values_list("generation", flat=True).first()


def _before(rotation: Rotation, promoted_at: datetime.datetime, generation: int) -> QuerySet[TrafficSample]:
    """An hour up to the promotion: whole minutes, and what workers counted by earlier entries."""
    promoted_s = int(promoted_at.timestamp())
    earlier = Q(start_s__lte=promoted_s - MINUTE_S) | Q(generation__gt=0, generation__lt=generation)
    return TrafficSample.objects.filter(earlier, host_id=rotation.host_id, start_s__gte=promoted_s - HOUR_S)
