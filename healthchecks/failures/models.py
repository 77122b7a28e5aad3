"""What fails at upstreams, from traffic, checks and connection tests, by host, upstream and cause.

Laws of this module:
- `healthchecks.failures.sightings` is the only one that counts in a FailureGroup, `healthchecks.failures.standing` the
  only one that changes how it stands otherwise.
- `healthchecks.failures.counts` is the only writer of FailureCount.
- No foreign key is a constraint, as in `healthchecks.models`; rows of what is gone are swept away.
- No secret: messages are those of the access log and of checks, which have none.
"""

import datetime

from django.db import models
from django.db.models import F, Q

MESSAGE_CHARACTERS = 500


class FailureState(models.TextChoices):
    """OPEN until somebody ACKNOWLEDGED it or it is RESOLVED; a resolved one that is seen again is open again."""

    OPEN = "open", "Open"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"


class Source(models.TextChoices):
    """Who met the failure."""

    TRAFFIC = "traffic", "Traffic"
    CHECK = "check", "Health check"
    TEST = "test", "Connection test"


class FailureGroup(models.Model):
    """All failures of one upstream for one reason.

    `opened_at` is the first sighting since the group was last resolved, so what was changed just before it may be why.
    """

    host = models.ForeignKey(
        "hosts.Host", on_delete=models.CASCADE, related_name="failure_groups", db_constraint=False, db_index=False
    )
    upstream = models.ForeignKey(
        "hosts.Upstream", on_delete=models.CASCADE, related_name="failure_groups", db_constraint=False
    )
    code = models.CharField(max_length=50, help_text="A code of docs/diagnosis.md.")
    traffic_count = models.PositiveBigIntegerField("traffic", default=0)
    check_count = models.PositiveBigIntegerField("checks", default=0)
    test_count = models.PositiveBigIntegerField("tests", default=0)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField(db_index=True)
    opened_at = models.DateTimeField()
    last_source = models.CharField(max_length=7, choices=Source)
    message = models.CharField(max_length=MESSAGE_CHARACTERS, blank=True)
    request_id = models.CharField("request ID", max_length=64, blank=True, help_text="Of the last request.")
    state = models.CharField(max_length=12, choices=FailureState, default=FailureState.OPEN)
    state_since = models.DateTimeField()
    state_by = models.CharField(max_length=150, blank=True, help_text="Empty: Aegis itself.")
    state_reason = models.CharField(max_length=200, blank=True)
    muted_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "failure"
        ordering = ["-last_seen", "-pk"]
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(fields=["host", "upstream", "code"], name="healthchecks_failuregroup_one"),
            models.CheckConstraint(condition=Q(state__in=FailureState.values), name="healthchecks_failure_state"),
        ]
        indexes = [
            models.Index(
                fields=["muted_until"], condition=Q(state=FailureState.OPEN), name="healthchecks_failure_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} at {self.upstream_id}"

    @property
    def count(self) -> int:
        """How often it was met, wherever."""
        return self.traffic_count + self.check_count + self.test_count

    def is_muted(self, now: datetime.datetime) -> bool:
        """Whether nobody wants to hear of it at `now`."""
        return self.muted_until is not None and self.muted_until > now


class FailureCount(models.Model):
    """What one worker process has counted of one upstream and code since its start, and how much of it is in the group.

    Workers write `count`, which only grows within a run; whoever moves the difference into the group sets `counted`
    with it. So a failure arrives there once, whatever report was lost or made again.
    """

    worker_id = models.CharField(max_length=200)
    run = models.CharField(max_length=32)
    upstream_id = models.UUIDField()
    code = models.CharField(max_length=50)
    count = models.PositiveBigIntegerField()
    counted = models.PositiveBigIntegerField(default=0)
    at = models.DateTimeField()
    message = models.CharField(max_length=MESSAGE_CHARACTERS, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    reported_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["worker_id", "run", "upstream_id", "code"], name="healthchecks_failurecount_one"
            ),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(count__gt=F("counted")), name="healthchecks_count_new")]

    def __str__(self) -> str:
        return f"{self.code}: {self.count}"
