"""Active checks of upstreams: how they are done, how the upstreams stand, and how they stood before.

Laws of this module:
- `healthchecks.section` and the host editor are the only writers of HealthCheck, as a part of its host.
- `healthchecks.claims` and `healthchecks.recording` are the only writers of UpstreamHealth and HealthTransition;
  `healthchecks.summaries` and `healthchecks.retention` of HealthSummary.
- UpstreamHealth has a row for each upstream that is checked and no other. History outlives it, for a check may be
  switched off for a while; it goes with its upstream.
- No foreign key to an upstream is a constraint: a result that is written while its upstream is being deleted fails
  neither of the two. What is left behind is swept away (`healthchecks.claims`, `healthchecks.retention`).
"""

import uuid

from django.core.exceptions import ValidationError
from django.db import models

from healthchecks.failures.models import FailureCount, FailureGroup
from healthchecks.validators import (
    MAX_BODY_CHARACTERS,
    MAX_PATH_CHARACTERS,
    MAX_STATUS_CHARACTERS,
    validate_body_text,
    validate_headers,
    validate_host_field,
    validate_path,
    validate_statuses,
)
from hosts.validators import Between

# Models of this app that stand elsewhere: Django finds them by this import.
FAILURE_MODELS = (FailureCount, FailureGroup)

INTERVAL_S = Between(1, 3600, "seconds")
TIMEOUT_S = Between(0.1, 60, "seconds")
THRESHOLD = Between(1, 20)


class CheckKind(models.TextChoices):
    """What a check does. HTTP: one request, over TLS where the upstream speaks it. TCP: only connects."""

    HTTP = "http", "HTTP"
    TCP = "tcp", "TCP"


class Method(models.TextChoices):
    """The methods that change nothing (RFC 9110 section 9.2.1) and that every server has."""

    GET = "GET", "GET"
    HEAD = "HEAD", "HEAD"


class HealthState(models.TextChoices):
    """UNKNOWN until enough checks agree; then HEALTHY or UNHEALTHY, until enough say otherwise."""

    UNKNOWN = "unknown", "Unknown"
    HEALTHY = "healthy", "Healthy"
    UNHEALTHY = "unhealthy", "Unhealthy"


class HealthCheck(models.Model):
    """How the upstreams of one host are checked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.OneToOneField("hosts.Host", on_delete=models.CASCADE, related_name="health_check")
    enabled = models.BooleanField(
        "Check health", default=False, help_text="Ask each upstream regularly whether it is well."
    )
    kind = models.CharField(
        max_length=4,
        choices=CheckKind,
        default=CheckKind.HTTP,
        help_text="HTTP sends a request, by the same TLS as the traffic. TCP only connects.",
    )
    method = models.CharField(max_length=4, choices=Method, default=Method.GET)
    path = models.CharField(max_length=MAX_PATH_CHARACTERS, default="/", validators=[validate_path])
    host_field = models.CharField(
        "Host header",
        max_length=300,
        blank=True,
        validators=[validate_host_field],
        help_text="Empty: what the traffic sends.",
    )
    expected_status = models.CharField(
        "Expected status",
        max_length=MAX_STATUS_CHARACTERS,
        default="200-399",
        validators=[validate_statuses],
        help_text="Such as 200-399 or 200,204.",
    )
    body_contains = models.CharField(
        "Body contains",
        max_length=MAX_BODY_CHARACTERS,
        blank=True,
        validators=[validate_body_text],
        help_text="Looked for in the first 64 KiB. Empty: any body will do.",
    )
    headers: "models.JSONField[list[dict[str, str]], list[dict[str, str]]]" = models.JSONField(
        default=list, blank=True, validators=[validate_headers]
    )
    interval_s = models.IntegerField("Interval", default=10, validators=[INTERVAL_S], help_text="Seconds.")
    timeout_s = models.FloatField(
        "Timeout", default=5, validators=[TIMEOUT_S], help_text="Seconds for all of a check; less than the interval."
    )
    healthy_after = models.IntegerField(
        "Healthy after", default=2, validators=[THRESHOLD], help_text="Successes in a row."
    )
    unhealthy_after = models.IntegerField(
        "Unhealthy after", default=3, validators=[THRESHOLD], help_text="Failures in a row."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=CheckKind.values), name="healthchecks_check_kind"),
            models.CheckConstraint(condition=models.Q(method__in=Method.values), name="healthchecks_check_method"),
            models.CheckConstraint(
                condition=models.Q(timeout_s__lt=models.F("interval_s"), timeout_s__gt=0, interval_s__lte=3600),
                name="healthchecks_check_timeout_within_interval",
            ),
        ]

    def __str__(self) -> str:
        return f"health check of host {self.host_id}"

    def clean(self) -> None:
        # NaN is caught by its validator; here the two are compared.
        if self.timeout_s is not None and self.interval_s is not None and self.timeout_s >= self.interval_s:
            message = f"Less than the interval of {self.interval_s} seconds."
            raise ValidationError({"timeout_s": ValidationError(message, code="timeout_within_interval")})


class UpstreamHealth(models.Model):
    """How one upstream that is checked stands, and when it is checked next.

    `next_due_at` is also the claim: whoever takes a check moves it behind the check's deadline, so that a check whose
    worker died becomes due again. `claim` tells who took it; a result of anybody else is void.
    """

    upstream = models.OneToOneField(
        "hosts.Upstream", on_delete=models.CASCADE, primary_key=True, related_name="health", db_constraint=False
    )
    state = models.CharField(max_length=9, choices=HealthState, default=HealthState.UNKNOWN)
    since = models.DateTimeField(help_text="When the state began.")
    successes = models.PositiveIntegerField(default=0, help_text="In a row, up to now.")
    failures = models.PositiveIntegerField(default=0, help_text="In a row, up to now.")
    checked_at = models.DateTimeField(null=True)
    fresh_until = models.DateTimeField(null=True, help_text="The last check speaks for the upstream until then.")
    is_ok = models.BooleanField(null=True)
    duration_ms = models.PositiveIntegerField(default=0)
    status = models.PositiveSmallIntegerField(null=True)
    code = models.CharField(max_length=50, blank=True, help_text="A code of docs/diagnosis.md.")
    message = models.CharField(max_length=500, blank=True)
    host_version = models.DateTimeField(null=True, help_text="The version of the host that was last claimed.")
    next_due_at = models.DateTimeField(db_index=True)
    claim = models.UUIDField(null=True, db_index=True)

    class Meta:
        verbose_name_plural = "upstream health"
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=HealthState.values), name="healthchecks_health_state")
        ]

    def __str__(self) -> str:
        return f"{self.upstream_id}: {self.state}"


class HealthTransition(models.Model):
    """A change of state. Kept as long as its upstream.

    To UNKNOWN when the upstream is not checked any more: because nobody wants it, or because nobody did it for so long
    that the last check does not speak for it. So the states of an upstream over time are those of its changes.
    """

    upstream = models.ForeignKey(
        "hosts.Upstream", on_delete=models.CASCADE, related_name="health_transitions", db_constraint=False
    )
    at = models.DateTimeField()
    previous = models.CharField(max_length=9, choices=HealthState)
    state = models.CharField(max_length=9, choices=HealthState)
    code = models.CharField(max_length=50, blank=True)
    message = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["upstream", "-at"], name="healthchecks_transition_last")]

    def __str__(self) -> str:
        return f"{self.previous} -> {self.state} at {self.at}"


class HealthSummary(models.Model):
    """What came of the checks of one upstream within one span: a minute, ten minutes or an hour (docs/adr/0030).

    Durations are those of checks that went well: how fast a refusal comes says nothing of how fast answers are. The
    columns `upto_…` count them, each those above the bound before; `slower` counts the rest.
    """

    upstream = models.ForeignKey(
        "hosts.Upstream",
        on_delete=models.CASCADE,
        related_name="health_summaries",
        db_constraint=False,
        db_index=False,  # the constraint below begins with it
    )
    span_s = models.PositiveSmallIntegerField()
    start_s = models.PositiveBigIntegerField(help_text="Unix time, a multiple of span_s.")
    count = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    total_ms = models.PositiveBigIntegerField(default=0)
    min_ms = models.PositiveIntegerField(null=True)
    max_ms = models.PositiveIntegerField(null=True)
    upto_2_ms = models.PositiveIntegerField(default=0)
    upto_5_ms = models.PositiveIntegerField(default=0)
    upto_10_ms = models.PositiveIntegerField(default=0)
    upto_25_ms = models.PositiveIntegerField(default=0)
    upto_50_ms = models.PositiveIntegerField(default=0)
    upto_100_ms = models.PositiveIntegerField(default=0)
    upto_250_ms = models.PositiveIntegerField(default=0)
    upto_500_ms = models.PositiveIntegerField(default=0)
    upto_1000_ms = models.PositiveIntegerField(default=0)
    slower = models.PositiveIntegerField(default=0)
    codes: "models.JSONField[dict[str, int], dict[str, int]]" = models.JSONField(
        default=dict, blank=True, help_text="Of the failures, how many had which code of docs/diagnosis.md."
    )

    class Meta:
        verbose_name_plural = "health summaries"
        constraints = [
            models.UniqueConstraint(fields=["upstream", "span_s", "start_s"], name="healthchecks_summary_of_a_span")
        ]

    def __str__(self) -> str:
        return f"{self.count} checks in {self.span_s} s from {self.start_s}"
