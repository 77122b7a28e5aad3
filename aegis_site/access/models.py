"""API tokens, sessions, and the second factor of users.

Laws of this module:
- A token is in no column, only its SHA-512, which says nothing about 256 random bits. It is known to the instance that
  has just been made, and to nobody after that. The same holds of recovery codes, by their SHA-256.
- The key of a session stands in its row and nowhere else: pages know a session by another id.
"""

import datetime
import uuid

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone
from knox.models import AbstractAuthToken
from knox.settings import CONSTANTS

from aegis_site.kernel.fields import SealedField

# How long a secret that was begun waits for its first code.
PENDING_FOR = datetime.timedelta(minutes=15)


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


class Session(AbstractBaseSession):
    """A row of Django's sessions that also says whose it is, and from where. Made by `session_store` only."""

    # Not unique: a session that gets another key has both for a moment.
    public_id = models.UUIDField(null=True, db_index=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+", editable=False
    )
    client_address = models.GenericIPAddressField(null=True, editable=False)
    browser = models.CharField(max_length=60, editable=False)
    began_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "session"
        default_permissions = ()
        indexes = [models.Index(fields=["user", "-last_seen_at"], name="access_session_of_user")]

    @classmethod
    def get_session_store_class(cls) -> type:
        from aegis_site.access.session_store import SessionStore  # noqa: PLC0415 (it imports this module)

        return SessionStore


class SecondFactor(models.Model):
    """A user's secret for one-time passwords (RFC 6238). Until its first code it waits, and protects nothing."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor", editable=False
    )
    secret = SealedField(null=False, blank=False)
    begun_at = models.DateTimeField(default=timezone.now, editable=False)
    confirmed_at = models.DateTimeField(null=True, editable=False)
    # The time step of the last code that was accepted: one of it or of an earlier step is not accepted again.
    last_step = models.BigIntegerField(default=0, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    refused_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "second factor"
        default_permissions = ()

    def __str__(self) -> str:
        return f"second factor of {self.user}"

    def is_pending(self, *, now: datetime.datetime) -> bool:
        """Whether it waits for its first code, and not in vain."""
        return self.confirmed_at is None and self.begun_at > now - PENDING_FOR


class RecoveryCode(models.Model):
    """What signs in once instead of a code. Used, it is gone."""

    factor = models.ForeignKey(SecondFactor, on_delete=models.CASCADE, related_name="recovery_codes", editable=False)
    digest = models.CharField(max_length=64, editable=False)

    class Meta:
        verbose_name = "recovery code"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["factor", "digest"], name="access_recovery_code_once")]


class GeneratedPassword(models.Model):
    """Says that a user still has the password which the first run made and printed."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+", editable=False
    )

    class Meta:
        verbose_name = "generated password"
        default_permissions = ()
