"""What the workers counted of the traffic.

Laws of this module:
- Each request is counted in one row of its host and in one of ALL_HOSTS, at any time: what sums rows up takes them
  away in the same transaction (`hosts.traffic_statistics.retention`). So readers add up rows of any span and source.
- No foreign key: workers tell of hosts that may be deleted meanwhile. Rows of what is gone are swept away.
"""

import uuid

from django.db import models

# In the place of a host.
ALL_HOSTS = uuid.UUID(int=0)


class TrafficSample(models.Model):
    """What was counted of one host within one span: a minute, ten minutes or an hour (docs/adr/0040).

    A row that a worker writes has that worker's run as `source` and the generation of the host's entry by which
    requests were answered; a row that sums others up has neither. The other columns are the snapshot's TRAFFIC_COLUMNS.
    """

    host_id = models.UUIDField()
    span_s = models.PositiveSmallIntegerField()
    start_s = models.PositiveBigIntegerField(help_text="Unix time, a multiple of span_s.")
    source = models.CharField(max_length=40, blank=True)
    generation = models.PositiveBigIntegerField(default=0)
    reported_at = models.DateTimeField(null=True)
    informational = models.PositiveIntegerField(default=0)
    successes = models.PositiveIntegerField(default=0)
    redirects = models.PositiveIntegerField(default=0)
    client_errors = models.PositiveIntegerField(default=0)
    refusals = models.PositiveIntegerField(default=0, help_text="401, 403, 495 and 496.")
    server_errors = models.PositiveIntegerField(default=0)
    upstream_failures = models.PositiveIntegerField(default=0)
    certificates_refused = models.PositiveIntegerField(default=0)
    handshakes = models.PositiveIntegerField(default=0)
    handshake_failures = models.PositiveIntegerField(default=0)
    upto_1_ms = models.PositiveIntegerField(default=0)
    upto_2_ms = models.PositiveIntegerField(default=0)
    upto_5_ms = models.PositiveIntegerField(default=0)
    upto_10_ms = models.PositiveIntegerField(default=0)
    upto_25_ms = models.PositiveIntegerField(default=0)
    upto_50_ms = models.PositiveIntegerField(default=0)
    upto_100_ms = models.PositiveIntegerField(default=0)
    upto_250_ms = models.PositiveIntegerField(default=0)
    upto_500_ms = models.PositiveIntegerField(default=0)
    upto_1000_ms = models.PositiveIntegerField(default=0)
    upto_2500_ms = models.PositiveIntegerField(default=0)
    upto_5000_ms = models.PositiveIntegerField(default=0)
    upto_10000_ms = models.PositiveIntegerField(default=0)
    upto_30000_ms = models.PositiveIntegerField(default=0)
    slower = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["host_id", "span_s", "start_s", "source", "generation"], name="hosts_trafficsample_of_a_span"
            )
        ]
        # What is to be summed up or forgotten is found by its age, whatever its host.
        indexes = [models.Index(fields=["span_s", "start_s"], name="hosts_trafficsample_age")]

    def __str__(self) -> str:
        return f"traffic of {self.host_id} in {self.span_s} s from {self.start_s}"
