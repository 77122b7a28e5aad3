"""API tokens.

Laws of this module: the token itself is in no column, only its SHA-512, which says nothing about 256 random bits. It is
known to the instance that has just been made, and to nobody after that.
"""

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone
from knox.models import AbstractAuthToken
from knox.settings import CONSTANTS


class Scope(models.TextChoices):
    """What a token may do of what its user may do."""

    READ = "read", "Read"
    WRITE = "write", "Read and write"


class ApiToken(AbstractAuthToken):
    """A token of a user, for `Authorization: Token …`."""

    # knox's primary key is the digest, which would stand in the addresses of pages.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=CONSTANTS.DIGEST_LENGTH, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="auth_token_set", editable=False
    )
    name = models.CharField(max_length=100, help_text="What the token is for, such as the script that uses it.")
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.READ)
    created = models.DateTimeField(auto_now_add=True)
    expiry = models.DateTimeField("expires", editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)

    # The token in clear, only on the instance that was just given one: see `services.give_secret`.
    secret: str = ""

    class Meta:
        verbose_name = "API token"
        verbose_name_plural = "API tokens"
        ordering = ["-created"]
        permissions = [("manage_apitoken", "Can see and revoke API tokens of others")]

    def __str__(self) -> str:
        return f"{self.name} ({self.get_scope_display().lower()})"

    @property
    def is_expired(self) -> bool:
        return self.expiry <= timezone.now()
