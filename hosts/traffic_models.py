"""How a host's traffic is carried: deadlines, retries, passive health, limits, header rules.

Laws of this module:
- The defaults are those of `proxyworker.snapshot` and stand nowhere else; a column is named as its field there.
- A host without a row has the defaults, which is also what a new row says.
- `hosts.traffic.apply_traffic` is the only writer of these columns.
"""

import uuid
from typing import TypeAlias

from django.core.exceptions import ValidationError
from django.db import models

from aegis_site.kernel.fields import SealedField
from hosts.validators import Between
from proxyworker.snapshot import Deadlines, HostLimits, PassiveHealth, Retries

# `action`, `name`, and either `value` or `secret` (`hosts.header_secrets`).
StoredRule: TypeAlias = dict[str, str]
StoredRules: TypeAlias = list[StoredRule]

_DAY_S = 86_400

# What is admitted, with its unit. The lower bounds keep a slip of the pen from cutting a host off, the upper ones keep
# a dead peer from staying for ever.
BOUNDS: dict[str, Between] = {
    "connect_s": Between(0.1, 300, "seconds"),
    "tls_s": Between(0.1, 300, "seconds"),
    "response_head_s": Between(0.1, _DAY_S, "seconds"),
    "body_stall_s": Between(0.1, _DAY_S, "seconds"),
    "idle_s": Between(0.1, _DAY_S, "seconds"),
    "tunnel_idle_s": Between(0.1, 7 * _DAY_S, "seconds"),
    "tunnel_lifetime_s": Between(0, 30 * _DAY_S, "seconds"),
    "tunnel_drain_s": Between(0, 3600, "seconds"),
    "max_failures": Between(0, 1000),
    "backoff_s": Between(0.1, 3600, "seconds"),
    "backoff_max_s": Between(0.1, _DAY_S, "seconds"),
    "max_attempts": Between(1, 10),
    "budget_percent": Between(0, 100, "percent"),
    "budget_min_per_s": Between(0, 10_000),
    "max_body_bytes": Between(0, 2**50, "bytes"),
}


class TrafficConfiguration(models.Model):
    """How the traffic of one host is carried. Seconds, bytes and counts, as in `proxyworker.snapshot`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.OneToOneField("hosts.Host", on_delete=models.CASCADE, related_name="traffic")

    connect_s = models.FloatField(
        "Connect timeout",
        default=Deadlines().connect_s,
        validators=[BOUNDS["connect_s"]],
        help_text="Seconds until a connection to an upstream is open.",
    )
    tls_s = models.FloatField(
        "TLS timeout",
        default=Deadlines().tls_s,
        validators=[BOUNDS["tls_s"]],
        help_text="Seconds for the TLS handshake with an upstream.",
    )
    response_head_s = models.FloatField(
        "Response timeout",
        default=Deadlines().response_head_s,
        validators=[BOUNDS["response_head_s"]],
        help_text="Seconds until an answer begins; then 504.",
    )
    body_stall_s = models.FloatField(
        "Stall timeout",
        default=Deadlines().body_stall_s,
        validators=[BOUNDS["body_stall_s"]],
        help_text="Seconds without a byte in the middle of a body.",
    )
    idle_s = models.FloatField(
        "Keep-alive",
        default=Deadlines().idle_s,
        validators=[BOUNDS["idle_s"]],
        help_text="Seconds that an idle connection is kept.",
    )
    tunnel_idle_s = models.FloatField(
        "WebSocket idle timeout",
        default=Deadlines().tunnel_idle_s,
        validators=[BOUNDS["tunnel_idle_s"]],
        help_text="Seconds without a byte in either direction.",
    )
    tunnel_lifetime_s = models.FloatField(
        "WebSocket lifetime",
        default=Deadlines().tunnel_lifetime_s,
        validators=[BOUNDS["tunnel_lifetime_s"]],
        help_text="Seconds in all, whatever it carries. 0: no limit.",
    )
    tunnel_drain_s = models.FloatField(
        "WebSocket drain",
        default=Deadlines().tunnel_drain_s,
        validators=[BOUNDS["tunnel_drain_s"]],
        help_text="Seconds left when upstream or identity is gone.",
    )
    max_failures = models.IntegerField(
        "Failures in a row",
        default=PassiveHealth().max_failures,
        validators=[BOUNDS["max_failures"]],
        help_text="After so many an upstream gets no requests for a while. 0: never.",
    )
    backoff_s = models.FloatField(
        "First pause",
        default=PassiveHealth().backoff_s,
        validators=[BOUNDS["backoff_s"]],
        help_text="Seconds; each further failure doubles it.",
    )
    backoff_max_s = models.FloatField(
        "Longest pause",
        default=PassiveHealth().backoff_max_s,
        validators=[BOUNDS["backoff_max_s"]],
        help_text="Seconds.",
    )
    max_attempts = models.IntegerField(
        "Attempts",
        default=Retries().max_attempts,
        validators=[BOUNDS["max_attempts"]],
        help_text="For one request, the first one included. Only what is safe is repeated.",
    )
    budget_percent = models.IntegerField(
        "Retry budget",
        default=Retries().budget_percent,
        validators=[BOUNDS["budget_percent"]],
        help_text="Retries in percent of the requests.",
    )
    budget_min_per_s = models.IntegerField(
        "Retries per second",
        default=Retries().budget_min_per_s,
        validators=[BOUNDS["budget_min_per_s"]],
        help_text="Allowed whatever the budget says.",
    )
    max_body_bytes = models.BigIntegerField(
        "Largest request body",
        default=HostLimits().max_body_bytes,
        validators=[BOUNDS["max_body_bytes"]],
        help_text="Such as 10m or 512k; larger ones get 413. 0: no limit.",
    )
    # In order. A list of its own rows would be read and written whole all the same.
    request_headers: "models.JSONField[StoredRules, StoredRules]" = models.JSONField(default=list)
    response_headers: "models.JSONField[StoredRules, StoredRules]" = models.JSONField(default=list)
    # The secret values of both, as JSON by name.
    header_secrets = SealedField("Values of header rules")

    class Meta:
        verbose_name = "traffic configuration"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    **{f"{name}__gte": bounds.low for name, bounds in BOUNDS.items()},
                    **{f"{name}__lte": bounds.high for name, bounds in BOUNDS.items()},
                ),
                name="hosts_traffic_bounds",
            ),
            models.CheckConstraint(
                condition=models.Q(backoff_max_s__gte=models.F("backoff_s")), name="hosts_traffic_backoff_order"
            ),
        ]

    def __str__(self) -> str:
        return f"traffic of host {self.host_id}"

    def clean(self) -> None:
        if self.backoff_max_s < self.backoff_s:
            message = "The longest pause cannot be shorter than the first one."
            raise ValidationError({"backoff_max_s": ValidationError(message, code="order")})
