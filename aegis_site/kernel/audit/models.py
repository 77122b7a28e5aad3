"""What was changed in this installation.

Laws of this module: entries are only ever added, and deleted when their time is over; no value of a secret is in one,
neither sealed nor in clear. An entry outlives its user and its target, so it names both.
"""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from aegis_site.kernel.audit.origin import Origin

__all__ = ["AuditEntry", "Origin"]


class AuditEntry(models.Model):
    """One change of one thing by somebody."""

    at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    user_name = models.CharField("user", max_length=150, blank=True, editable=False)
    origin = models.CharField(max_length=8, choices=Origin, editable=False)
    client_address = models.GenericIPAddressField(null=True, blank=True, editable=False)
    action = models.CharField(max_length=32, editable=False, help_text="Such as created, changed, deleted, issued.")
    target_type = models.CharField(
        "type", max_length=32, editable=False, help_text="Such as host, certificate, settings."
    )
    target_id = models.CharField(max_length=64, editable=False)
    target_name = models.CharField("target", max_length=255, editable=False)
    changes: "models.JSONField[list[Any], list[Any]]" = models.JSONField(
        default=list, editable=False, help_text="List of field, before, after."
    )

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-at", "-pk"]
        # There is no right to add, change or delete one, so nobody can be given it.
        default_permissions = ("view",)
        # Each serves a filter in the order of the list; read backwards, it needs no sorting.
        indexes = [
            models.Index(fields=["target_type", "target_id", "-at"], name="audit_by_target"),
            models.Index(fields=["target_type", "at", "id"], name="audit_by_type"),
            models.Index(fields=["target_id", "at", "id"], name="audit_by_target_id"),
            models.Index(fields=["user_name", "at", "id"], name="audit_by_user_name"),
            models.Index(fields=["action", "at", "id"], name="audit_by_action"),
            models.Index(fields=["origin", "at", "id"], name="audit_by_origin"),
        ]

    def __str__(self) -> str:
        return f"{self.target_type} {self.target_name} {self.action}"
