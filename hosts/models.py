"""Proxy hosts, what of them is published, and what the workers say about it.

Laws of this module:
- `hosts.services`, `hosts.skip_verify` and the host editor are the only writers of Host, Domain, Upstream,
  DownstreamTLSConfiguration and TrafficConfiguration; every write of any of them also saves the Host, so `updated_at`
  names the version of the whole.
- `hosts.connection_tests` is the only writer of ConnectionTest.
- `hosts.rotation.transitions` exchanges the client certificate of an UpstreamTLSConfiguration, and saves the Host too.
- `hosts.traffic_statistics.recording` and `.retention` are the only writers of TrafficSample.
- `hosts.publish` is the only writer of CompiledHost and GenerationCounter, `hosts.worker_feed` of ProxyWorker
  and UpstreamFailure.
"""

import uuid
from typing import Any

from cryptography import x509
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from aegis_site.kernel.certificates import CertificateFacts
from aegis_site.kernel.fields import SealedField
from hosts.querysets import CompiledHostQuerySet, ConnectionTestQuerySet, HostQuerySet
from hosts.rotation.models import IssuedCandidate, Rotation
from hosts.traffic_models import TrafficConfiguration
from hosts.traffic_statistics.models import TrafficSample
from hosts.validators import Between, clean_address, validate_printable
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.stored import stored_certificates, stored_facts

# Models of this app that stand elsewhere: Django finds them by this import.
ROTATION_MODELS = (Rotation, IssuedCandidate)
STATISTICS_MODELS = (TrafficSample,)

MAX_WEIGHT = 1000


class LoadBalancing(models.TextChoices):
    """How the next upstream of a host is chosen."""

    ROUND_ROBIN = "round_robin", "Round robin"
    LEAST_CONNECTIONS = "least_connections", "Least connections"
    IP_HASH = "ip_hash", "IP hash"
    RANDOM_TWO_CHOICES = "random_two_choices", "Random two choices"


class Host(models.Model):
    """A proxy host: the domains it answers for and the upstreams behind it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[validate_printable],
        error_messages={"unique": "There is a host with this name already."},
    )
    enabled = models.BooleanField(default=True, help_text="A disabled host is not served at all.")
    preserve_host = models.BooleanField(
        "Preserve Host Header",
        default=False,
        help_text="Send the client's Host header to the upstream, instead of the upstream's own name.",
    )
    websockets = models.BooleanField(
        "WebSockets",
        default=True,
        help_text="Pass WebSocket connections on. When off, a request for one is an ordinary request.",
    )
    access_log = models.BooleanField(
        "Access log", default=True, help_text="Write a line for each request of this host."
    )
    tags: "models.JSONField[list[str], list[str]]" = models.JSONField(
        default=list, blank=True, help_text="Words to find hosts by, as clean_tags makes them."
    )
    load_balancing = models.CharField(
        "Load balancing", max_length=20, choices=LoadBalancing, default=LoadBalancing.ROUND_ROBIN
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = HostQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        permissions = [("export_host_secrets", "Can export the keys of hosts, sealed to a passphrase")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(load_balancing__in=LoadBalancing.values), name="hosts_host_load_balancing"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def upstream_configuration(self) -> UpstreamTLSConfiguration:
        """What is stored about TLS towards upstreams, or a new row that says nothing. No query `with_configuration`."""
        return getattr(self, "upstream_tls", None) or UpstreamTLSConfiguration(host=self)

    @property
    def downstream_configuration(self) -> "DownstreamTLSConfiguration":
        """What is stored about TLS towards clients, or a new row that says nothing. No query `with_configuration`."""
        return getattr(self, "downstream_tls", None) or DownstreamTLSConfiguration(host=self)

    @property
    def traffic_configuration(self) -> TrafficConfiguration:
        """What is stored about its traffic, or a new row that has the defaults. No query `with_configuration`."""
        return getattr(self, "traffic", None) or TrafficConfiguration(host=self)


class Domain(models.Model):
    """A name that a host answers for: lower-case A-labels, `*.` in front for all names below, one label or more."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="domains")
    name = models.CharField(max_length=255, unique=True)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name


class Scheme(models.TextChoices):
    """How the worker speaks with an upstream."""

    HTTP = "http", "http"
    HTTPS = "https", "https"


class Upstream(models.Model):
    """One backend of a host."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="upstreams")
    position = models.PositiveIntegerField(default=0)
    scheme = models.CharField(max_length=5, choices=Scheme, default=Scheme.HTTPS)
    address = models.CharField(max_length=253, help_text="A DNS name or an IP address, without port.")
    port = models.PositiveIntegerField(default=443, validators=[MinValueValidator(1), MaxValueValidator(65535)])
    enabled = models.BooleanField(default=True)
    weight = models.IntegerField(
        default=1, validators=[Between(1, MAX_WEIGHT)], help_text="Its share among the others."
    )
    backup = models.BooleanField(default=False, help_text="Gets requests only while no other upstream is up.")
    drain = models.BooleanField(default=False, help_text="Gets no new requests; what it carries goes on.")

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(condition=models.Q(port__gte=1, port__lte=65535), name="hosts_upstream_port"),
            models.CheckConstraint(condition=models.Q(scheme__in=Scheme.values), name="hosts_upstream_scheme"),
            models.CheckConstraint(
                condition=models.Q(weight__gte=1, weight__lte=MAX_WEIGHT), name="hosts_upstream_weight"
            ),
        ]

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{address}:{self.port}"

    def clean(self) -> None:
        try:
            self.address = clean_address(self.address)
        except ValidationError as error:
            raise ValidationError({"address": error.error_list}) from error


class DownstreamTLSConfiguration(models.Model):
    """What clients of one host are shown, and whether they have to come by HTTPS.

    `hosts.downstream_tls.apply_downstream_tls` is the only writer of these columns: what is stored can be served.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="downstream_tls")
    certificate = models.TextField("Certificate", blank=True)
    key = SealedField("Private key")
    key_spki_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    force_https = models.BooleanField("Force HTTPS", default=False)
    hsts_max_age_s = models.PositiveIntegerField("HSTS max-age", default=0)

    class Meta:
        verbose_name = "downstream TLS configuration"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(certificate="", key__isnull=True, key_spki_sha256="")
                | (~models.Q(certificate="") & models.Q(key__isnull=False) & ~models.Q(key_spki_sha256="")),
                name="hosts_downstreamtls_certificate_and_key",
            ),
            models.CheckConstraint(
                condition=~models.Q(certificate="") | models.Q(force_https=False, hsts_max_age_s=0),
                name="hosts_downstreamtls_https_needs_certificate",
            ),
        ]

    def __str__(self) -> str:
        return f"downstream TLS of host {self.host_id}"

    @property
    def has_key(self) -> bool:
        """Whether a key is stored. Opens nothing."""
        return self.key is not None

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The stored chain, leaf first; empty when there is none."""
        return stored_certificates(self.certificate)

    @property
    def certificate_facts(self) -> tuple[CertificateFacts, ...]:
        """The facts of the stored chain."""
        return stored_facts(self.certificate)


class CompiledHost(models.Model):
    """What the workers get of a host. It outlives the host as a tombstone (empty `entry_json`)."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="The host's own id.")
    name = models.CharField(max_length=100)
    entry_json = models.TextField(blank=True)
    digest = models.CharField(max_length=64, blank=True)
    schema_version = models.PositiveIntegerField()
    generation = models.PositiveBigIntegerField(unique=True)
    client_key = SealedField()
    downstream_key = SealedField()
    header_secrets = SealedField()
    problem = models.TextField(blank=True, help_text="Why the host answers 502 until it is configured anew.")
    downstream_problem = models.TextField(
        blank=True, help_text="Why the host refuses HTTPS until it is configured anew."
    )
    source_updated_at = models.DateTimeField(null=True, help_text="The version of the host that was compiled.")
    compiled_at = models.DateTimeField()

    objects = CompiledHostQuerySet.as_manager()

    class Meta:
        ordering = ["generation"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_tombstone(self) -> bool:
        """Whether the workers are to forget this host."""
        return not self.entry_json


class GenerationCounter(models.Model):
    """One row: the last generation given out. It is locked from the compile to its commit."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    value = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="hosts_one_generation_counter")]

    def __str__(self) -> str:
        return str(self.value)


class ProxyWorker(models.Model):
    """A proxy worker as it last described itself."""

    worker_id = models.CharField("worker", max_length=200, primary_key=True)
    generation = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveIntegerField(default=0, help_text="Hosts that this worker serves.")
    rejected: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(
        default=dict, help_text="Host id and the reason why its configuration cannot be used."
    )
    health_feed_is_current = models.BooleanField(
        default=False, help_text="Whether this worker goes by the active checks; else it judges by its traffic alone."
    )
    version = models.CharField(max_length=50, blank=True)
    pid = models.PositiveIntegerField("PID", default=0)
    last_seen_at = models.DateTimeField("last seen")

    class Meta:
        verbose_name = "worker"
        ordering = ["worker_id"]

    def __str__(self) -> str:
        return self.worker_id


class UpstreamFailure(models.Model):
    """The last failure of one upstream that one worker saw. It goes with either of them."""

    upstream = models.ForeignKey(Upstream, on_delete=models.CASCADE, related_name="failures")
    worker = models.ForeignKey(ProxyWorker, on_delete=models.CASCADE, related_name="failures")
    phase = models.CharField(max_length=20)
    code = models.CharField(max_length=50, help_text="A code of docs/diagnosis.md.")
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField("request ID", max_length=64, blank=True)
    at = models.DateTimeField(db_index=True)
    count = models.PositiveBigIntegerField(help_text="Failures of this upstream since the worker started.")

    class Meta:
        ordering = ["-at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["upstream", "worker"], name="hosts_upstreamfailure_last"),
        ]

    def __str__(self) -> str:
        return f"{self.code} at {self.at}"


def target_of(address: str, port: int) -> str:
    """Address and port as they are written in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class ConnectionTestState(models.TextChoices):
    """Where a connection test stands: QUEUED -> RUNNING -> DONE, and from the first two EXPIRED."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    EXPIRED = "expired", "Expired"


class ConnectionTest(models.Model):
    """One upstream's TLS handshake, tried on request. Tests that were requested together share their `batch`.

    `job` is what to try, sealed: it may hold a client key that was pasted and never saved. It goes when the test ends.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch = models.UUIDField(db_index=True, editable=False)
    # Null while the host, or the upstream's row in the editor, is not saved yet.
    host = models.ForeignKey(Host, on_delete=models.CASCADE, null=True, related_name="connection_tests")
    upstream = models.ForeignKey(Upstream, on_delete=models.SET_NULL, null=True, related_name="connection_tests")
    address = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    is_of_saved_host = models.BooleanField(help_text="Whether the host was tested as stored, not as edited.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=7, choices=ConnectionTestState, default=ConnectionTestState.QUEUED)
    job = SealedField()
    success = models.BooleanField(null=True)
    code = models.CharField(max_length=50, blank=True, help_text="Why it failed: a code of docs/diagnosis.md.")
    result: "models.JSONField[dict[str, Any] | None, dict[str, Any] | None]" = models.JSONField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = ConnectionTestQuerySet.as_manager()

    class Meta:
        # Of a batch the failures first.
        ordering = ["-created_at", "success", "pk"]
        indexes = [models.Index(fields=["host", "-created_at"], name="hosts_connectiontest_latest")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state=ConnectionTestState.DONE, result__isnull=False, success__isnull=False)
                | (~models.Q(state=ConnectionTestState.DONE) & models.Q(result__isnull=True, success__isnull=True)),
                name="hosts_connectiontest_done_has_result",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=[ConnectionTestState.QUEUED, ConnectionTestState.RUNNING])
                | models.Q(job__isnull=True),
                name="hosts_connectiontest_ended_has_no_job",
            ),
        ]

    def __str__(self) -> str:
        return f"test of {self.target}"

    @property
    def target(self) -> str:
        """Address and port as they are written in a URL."""
        return target_of(self.address, self.port)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in (ConnectionTestState.DONE, ConnectionTestState.EXPIRED)
