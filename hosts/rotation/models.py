"""Rotations: a candidate beside the certificate in use, and how far it has come.

Laws of this module:
- `hosts.rotation.transitions` is the only writer, but for claims, which `hosts.rotation.running` makes by
  compare-and-set of `due_at`.
- At most one rotation of a host is open: the database says so.
- Keys are here only while they can still be needed: the candidate's until it is in use for good, the previous one
  until nothing can be rolled back any more. That of a certificate request stays there until then, too.
"""

import datetime
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from aegis_site.kernel.certificates import CertificateFacts
from aegis_site.kernel.fields import SealedField
from upstream_tls.stored import stored_facts

MAX_REASON_CHARACTERS = 500


class RotationState(models.TextChoices):
    """How far a rotation has come.

    STAGED -> PROBING -> READY -> WATCHING -> DRAINING -> DONE. PROBING -> REFUSED, from which it is probed again or
    promoted for a reason. READY waits for a person in a manual rotation. WATCHING -> ROLLED_BACK. Whatever is not in
    use yet can be CANCELLED; FAILED says that a step was impossible.
    """

    STAGED = "staged", "Staged"
    PROBING = "probing", "Probing"
    READY = "ready", "Ready to promote"
    REFUSED = "refused", "Refused"
    WATCHING = "watching", "In use, watched"
    DRAINING = "draining", "In use, old connections drain"
    DONE = "done", "Done"
    ROLLED_BACK = "rolled_back", "Rolled back"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


# Not in use yet.
BEFORE_PROMOTION = (RotationState.STAGED, RotationState.PROBING, RotationState.READY, RotationState.REFUSED)
# Of these a host has at most one, and they alone hold keys.
OPEN = (*BEFORE_PROMOTION, RotationState.WATCHING)
# What a process does within one deadline; other states may wait for longer.
STEPS = (RotationState.STAGED, RotationState.PROBING, RotationState.WATCHING)
OVER = (RotationState.DONE, RotationState.ROLLED_BACK, RotationState.CANCELLED, RotationState.FAILED)


class RotationSource(models.TextChoices):
    """Where the candidate is from."""

    UPLOADED = "uploaded", "Uploaded"
    ISSUED = "issued", "Issued by the local CA on request"
    RENEWED = "renewed", "Renewed by the local CA when it was due"
    SIGNED = "signed", "Signed by another CA for a request"


class RotationQuerySet(models.QuerySet["Rotation"]):
    """Sets of rotations."""

    def open(self) -> "RotationQuerySet":
        """Those that stand in the way of another one."""
        return self.filter(state__in=OPEN)

    def waiting_for_person(self) -> "RotationQuerySet":
        """Those that go on only when somebody says so."""
        return self.open().filter(due_at=None)

    def due(self, now: datetime.datetime, *, longest_step: datetime.timedelta) -> "RotationQuerySet":
        """Those whose next step is due. A step that ends later than it can was begun before the clock was set back."""
        before = Q(state__in=STEPS, due_at__gt=now + longest_step)
        return self.filter(Q(due_at__lte=now) | before)

    def without_keys(self) -> "RotationQuerySet":
        """For pages and documents."""
        return self.defer("candidate_key", "previous_key")


class Rotation(models.Model):
    """One rotation of one host's client certificate.

    `probes` has a document for each upstream that the candidate was tried on (`hosts.rotation.judging`), `steps` one
    for each step: when, which state, by whom, and why. `due_at` is when the sweep goes on; empty: a person has to.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey("hosts.Host", on_delete=models.CASCADE, related_name="rotations")
    state = models.CharField(max_length=11, choices=RotationState, default=RotationState.STAGED)
    source = models.CharField(max_length=8, choices=RotationSource)
    is_manual = models.BooleanField("manual", default=False, help_text="Promoted when somebody confirms it.")
    is_confirmed = models.BooleanField("confirmed", default=False)
    candidate_certificate = models.TextField()
    candidate_key = SealedField()
    candidate_key_spki_sha256 = models.CharField(max_length=64)
    candidate_fingerprint_sha256 = models.CharField(max_length=64, db_index=True)
    previous_enabled = models.BooleanField()
    previous_certificate = models.TextField(blank=True)
    previous_key = SealedField()
    previous_key_spki_sha256 = models.CharField(max_length=64, blank=True)
    probes: "models.JSONField[list[dict[str, Any]], list[dict[str, Any]]]" = models.JSONField(default=list)
    probed_version = models.DateTimeField(null=True, help_text="Of the host that was probed.")
    probe_count = models.PositiveIntegerField(default=0)
    steps: "models.JSONField[list[dict[str, Any]], list[dict[str, Any]]]" = models.JSONField(default=list)
    override_reason = models.CharField(max_length=MAX_REASON_CHARACTERS, blank=True)
    override_admits: "models.JSONField[list[list[str]], list[list[str]]]" = models.JSONField(
        default=list,
        help_text="Upstreams that may refuse it, as id and address: those that did when it was overridden.",
    )
    certificate_request = models.ForeignKey(
        "upstream_tls.CertificateRequest", on_delete=models.SET_NULL, null=True, related_name="rotations"
    )
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    code = models.CharField(max_length=50, blank=True)
    message = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField()
    probed_at = models.DateTimeField(null=True)
    promoted_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, db_index=True)

    objects = RotationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["host"], condition=Q(state__in=OPEN), name="hosts_rotation_one_open"),
            models.CheckConstraint(condition=Q(state__in=RotationState.values), name="hosts_rotation_state"),
            models.CheckConstraint(
                condition=Q(state__in=OPEN) | Q(candidate_key__isnull=True, previous_key__isnull=True),
                name="hosts_rotation_keys_only_while_open",
            ),
            models.CheckConstraint(
                condition=Q(state__in=OVER, ended_at__isnull=False, due_at__isnull=True)
                | (~Q(state__in=OVER) & Q(ended_at__isnull=True)),
                name="hosts_rotation_over_has_end",
            ),
        ]

    def __str__(self) -> str:
        return f"rotation of {self.created_at:%Y-%m-%d %H:%M} UTC"

    @property
    def is_open(self) -> bool:
        """Whether it stands in the way of another one."""
        return self.state in OPEN

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in OVER

    @property
    def waits_for_person(self) -> bool:
        """Whether it goes on only when somebody says so."""
        return self.due_at is None and not self.is_over

    @property
    def is_stuck(self) -> bool:
        """Whether it stands in the way of renewals until somebody does something, or an upstream changes its mind."""
        return self.state in (RotationState.READY, RotationState.REFUSED)

    @property
    def candidate_facts(self) -> tuple[CertificateFacts, ...]:
        """The facts of the candidate's chain, leaf first."""
        return stored_facts(self.candidate_certificate)

    @property
    def previous_facts(self) -> tuple[CertificateFacts, ...]:
        """The facts of what was in use when it was staged; empty when nothing was stored."""
        return stored_facts(self.previous_certificate)


class IssuedCandidate(models.Model):
    """That the key of a certificate of the local CA was made for a rotation: no person ever had it.

    It outlives the rotation and the host, so that a successor of which nobody has the key is always known as such.
    """

    certificate = models.OneToOneField(
        "localca.IssuedCertificate", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )

    def __str__(self) -> str:
        return f"candidate {self.certificate_id}"
