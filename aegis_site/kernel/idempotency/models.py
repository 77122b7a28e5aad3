"""The answers that are kept.

Laws of this module: `aegis_site.kernel.idempotency.services` is the only writer; a body is sealed, because an answer
may hold a private key that is shown once; of the request only a keyed digest is kept.
"""

import uuid

from django.conf import settings
from django.db import models

from aegis_site.kernel.fields import SealedField


class KeptAnswer(models.Model):
    """One use of an Idempotency-Key by one user. Without `status` the request is running, or its process died."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", editable=False)
    key = models.CharField(max_length=255, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False, help_text="Of method, target and body.")
    claimed_at = models.DateTimeField(editable=False, db_index=True)
    status = models.PositiveSmallIntegerField(null=True, editable=False)
    headers: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(default=dict, editable=False)
    body = SealedField(editable=False)
    is_dropped = models.BooleanField(default=False, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_of_user")]

    def __str__(self) -> str:
        return f"answer {self.status or 'pending'}"
