"""Making, using and revoking API tokens. Every change is in the audit log."""

import datetime
import logging

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone
from knox.models import get_digest_token
from knox.settings import CONSTANTS

from aegis_site.access.models import ApiToken, Scope
from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.patience import without_waiting

logger = logging.getLogger(__name__)

DEFAULT_LIFETIME_DAYS = 365
MAX_LIFETIME_DAYS = 3650
# Whoever wonders why a script stopped still finds its token.
KEPT_AFTER_EXPIRY = datetime.timedelta(days=30)
# A write for each request would make readers queue behind each other on SQLite.
LAST_USED_EVERY = datetime.timedelta(minutes=1)

AUDIT_TYPE = "api_token"


@transaction.atomic
def create_token(*, user: User, name: str, scope: Scope, lifetime_days: int, created_by: User | None) -> ApiToken:
    """A new token of `user`; its `secret` is the token itself. Raises ValidationError keyed by field."""
    token = ApiToken(user=user, name=name, scope=scope)
    give_secret(token, lifetime_days=lifetime_days)
    token.full_clean()
    token.save(force_insert=True)
    record_created(token, by=created_by)
    return token


def give_secret(token: ApiToken, *, lifetime_days: int) -> None:
    """Make a token that is not saved usable for so many days. Raises ValidationError."""
    if not 1 <= lifetime_days <= MAX_LIFETIME_DAYS:
        message = f"{lifetime_days} is not between 1 and {MAX_LIFETIME_DAYS} days."
        raise ValidationError({"lifetime_days": ValidationError(message, code="out_of_range")})
    token.digest, token.secret = get_digest_token()
    token.token_key = token.secret[: CONSTANTS.TOKEN_KEY_LENGTH]
    token.expiry = timezone.now() + datetime.timedelta(days=lifetime_days)


def record_created(token: ApiToken, *, by: Actor | None) -> None:
    """Write into the audit log whose token was made, and what it may do."""
    _record(token, "created", by)


@transaction.atomic
def revoke_token(*, token: ApiToken, user: Actor | None) -> None:
    """From now on the token is refused."""
    _record(token, "revoked", user)
    token.delete()


def note_use(token: ApiToken) -> None:
    """Write down that the token is used, at most once a minute. Never fails or delays the request that uses it."""
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - LAST_USED_EVERY:
        return
    is_due = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_EVERY)
    try:
        # An import writes for half a minute, and who only reads need not wait for it.
        with without_waiting(), transaction.atomic():
            ApiToken.objects.filter(is_due, pk=token.pk).update(last_used_at=now)
    except DatabaseError as error:
        logger.warning("the use of an API token was not written down: %s", type(error).__name__)


def prune_tokens(*, now: datetime.datetime) -> int:
    """Delete the tokens that expired long ago. How many."""
    count: int = ApiToken.objects.filter(expiry__lt=now - KEPT_AFTER_EXPIRY).delete()[0]
    return count


def _record(token: ApiToken, action: str, by: Actor | None) -> None:
    before_after = [
        ("user", token.user.get_username()),
        ("scope", token.scope),
        ("expires", token.expiry.isoformat()),
    ]
    is_new = action == "created"
    record(
        user=by,
        action=action,
        target_type=AUDIT_TYPE,
        target_id=token.pk,
        target_name=token.name,
        changes=[
            {"field": field, "before": None if is_new else value, "after": value if is_new else None}
            for field, value in before_after
        ],
    )
