"""What happened, who wants to hear of it, and what became of telling them.

Laws of this module:
- `events` writes Incident and NotedEvent, in the transaction of what happened; `distribution` makes Deliveries of them;
  `delivering` alone moves a Delivery on after that; `services` writes what people set.
- Addresses of channels are secrets: whoever has the one of Slack, Discord, Teams or ntfy can write there. They are
  sealed, and `destination` shows no more than where they lead.
- Events and deliveries are forgotten after a month (`retention`); an incident that lasts is kept.
"""

import uuid
import zoneinfo
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from aegis_site.kernel.fields import SealedField
from aegis_site.kernel.notifications.kinds import EventKind
from aegis_site.kernel.notifications.validators import MAX_NAME_CHARACTERS, validate_events, validate_time_zone
from aegis_site.kernel.site_settings.validators import Within, clean_recipients, validate_printable

GROUP_S = Within(0, 3600)


class ChannelKind(models.TextChoices):
    """How a channel is told."""

    MAIL = "mail", "Mail"
    WEBHOOK = "webhook", "Webhook (signed JSON)"
    SLACK = "slack", "Slack, Mattermost, Rocket.Chat"
    DISCORD = "discord", "Discord"
    TEAMS = "teams", "Microsoft Teams (workflow)"
    NTFY = "ntfy", "ntfy"


class Channel(models.Model):
    """One way in which somebody is told, and of what."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=MAX_NAME_CHARACTERS, unique=True, validators=[validate_printable])
    kind = models.CharField(max_length=7, choices=ChannelKind)
    enabled = models.BooleanField(default=True)
    url = SealedField("URL")
    destination = models.CharField(max_length=300, editable=False, blank=True)
    secret = SealedField("secret")
    recipients: "models.JSONField[list[str], list[str]]" = models.JSONField(
        default=list, blank=True, help_text="Mail addresses. Empty: the recipients of the site settings."
    )
    events: "models.JSONField[list[str], list[str]]" = models.JSONField(
        default=list, blank=True, validators=[validate_events], help_text="Empty: all."
    )
    group_s = models.PositiveIntegerField(
        "grouping time",
        default=30,
        validators=[GROUP_S],
        help_text="Seconds. What happens to the same host within them is told in one message.",
    )
    quiet_from = models.TimeField("quiet from", null=True, blank=True)
    quiet_to = models.TimeField("quiet until", null=True, blank=True)
    time_zone = models.CharField(
        max_length=64, default="UTC", validators=[validate_time_zone], help_text="Such as Europe/Berlin."
    )
    critical_passes = models.BooleanField(
        "critical events pass",
        default=True,
        help_text="A host without a healthy upstream and a lost worker are told in quiet hours too, and their end.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ChannelKind.values), name="notifications_channel_kind"),
            models.CheckConstraint(
                condition=Q(kind=ChannelKind.MAIL, url__isnull=True) | ~Q(kind=ChannelKind.MAIL) & Q(url__isnull=False),
                name="notifications_channel_url",
            ),
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_to__isnull=True)
                | Q(quiet_from__isnull=False, quiet_to__isnull=False),
                name="notifications_channel_quiet_hours",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The zone of the quiet hours."""
        return zoneinfo.ZoneInfo(self.time_zone)

    def wants(self, kind: str) -> bool:
        """Whether this kind of event is told here."""
        return not self.events or kind in self.events

    def clean(self) -> None:
        """Puts values into their canonical form, and compares those that depend on each other."""
        errors: dict[str, Any] = {}
        try:
            self.recipients = clean_recipients(self.recipients)
        except ValidationError as error:
            errors["recipients"] = error.error_list
        else:
            if self.recipients and self.kind != ChannelKind.MAIL:
                errors["recipients"] = ValidationError("Only mail has recipients.", code="invalid")
        if (self.quiet_from is None) != (self.quiet_to is None):
            name = "quiet_from" if self.quiet_from is None else "quiet_to"
            errors[name] = ValidationError("Quiet hours have a beginning and an end.", code="required")
        elif self.quiet_from is not None and self.quiet_from == self.quiet_to:
            errors["quiet_to"] = ValidationError("Another time than the beginning.", code="invalid")
        if errors:
            raise ValidationError(errors)


class MaintenanceWindow(models.Model):
    """From when to when nothing is told, of some hosts or of the whole site; it is noted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=MAX_NAME_CHARACTERS, validators=[validate_printable])
    begins_at = models.DateTimeField("begins")
    ends_at = models.DateTimeField("ends")
    # A flag of its own: without it, a window would come to mean the whole site when its last host is deleted.
    whole_site = models.BooleanField(default=False, help_text="Nothing at all is told, of no host, worker or CA.")
    hosts = models.ManyToManyField("hosts.Host", blank=True, related_name="maintenance_windows")

    class Meta:
        ordering = ["-begins_at"]
        indexes = [models.Index(fields=["ends_at"], name="notifications_window_end")]
        constraints = [
            models.CheckConstraint(condition=Q(begins_at__lt=F("ends_at")), name="notifications_window_order"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.begins_at is not None and self.ends_at is not None and self.begins_at >= self.ends_at:
            raise ValidationError({"ends_at": ValidationError("After the beginning.", code="invalid")})


class Outcome(models.TextChoices):
    """What became of an event: PENDING, until it is decided who hears of it."""

    PENDING = "pending", "Pending"
    TOLD = "told", "Told"
    UNHEARD = "unheard", "No channel wants it"
    MUTED = "muted", "Muted by maintenance"


class NotedEvent(models.Model):
    """An event that is news, as it was noted."""

    kind = models.CharField(max_length=30, choices=EventKind)
    subject = models.CharField(max_length=255)
    group = models.CharField(max_length=255)
    title = models.CharField(max_length=255)
    text = models.CharField(max_length=1000, blank=True)
    path = models.CharField(max_length=300, blank=True)
    details: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField(db_index=True)
    since = models.DateTimeField(null=True, help_text="Of an end or a reminder: when it began.")
    is_flapping = models.BooleanField(default=False)
    outcome = models.CharField(max_length=7, choices=Outcome, default=Outcome.PENDING)

    class Meta:
        verbose_name = "event"
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["id"], condition=Q(outcome="pending"), name="notifications_event_pending"),
        ]

    def __str__(self) -> str:
        return self.title


class Incident(models.Model):
    """One kind of event for one subject: since when it lasts, and when it was last told."""

    key = models.CharField(max_length=300, unique=True)
    kind = models.CharField(max_length=30, choices=EventKind)
    subject = models.CharField(max_length=255)
    began_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    openings = models.PositiveIntegerField(default=0, help_text="How often it began in quick succession.")
    is_muted = models.BooleanField(default=False, help_text="Nobody was told, because of maintenance.")
    event = models.ForeignKey(NotedEvent, on_delete=models.SET_NULL, null=True, related_name="incidents")

    class Meta:
        indexes = [models.Index(fields=["kind"], condition=Q(ended_at=None), name="notifications_incident_open")]

    def __str__(self) -> str:
        return self.key


class DeliveryState(models.TextChoices):
    """WAITING until it is delivered, or given up as FAILED; a failed one may be sent again."""

    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class Delivery(models.Model):
    """One message to one channel. Its id is that of the message, the same in every attempt.

    `due_at` is also the claim: whoever sends it moves it behind the moment at which that must be over, so that the
    message of a worker that died becomes due again. `claim` tells who took it. Events join as long as there was no
    attempt.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    group = models.CharField(max_length=255)
    events = models.ManyToManyField(NotedEvent, related_name="deliveries")
    state = models.CharField(max_length=9, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField("next attempt")
    claim = models.UUIDField(null=True, editable=False)
    first_attempt_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status of the last answer.")
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-created_at", "pk"]
        indexes = [
            models.Index(fields=["channel", "due_at"], condition=Q(state="waiting"), name="notifications_delivery_due"),
            models.Index(fields=["finished_at"], condition=Q(state="failed"), name="notifications_delivery_failed"),
            models.Index(fields=["-created_at"], name="notifications_delivery_latest"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="notifications_delivery_state"),
        ]

    def __str__(self) -> str:
        return f"message to {self.channel_id}"
