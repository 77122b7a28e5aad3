"""Who is signed in, from where, and ending it.

Laws of this module: nobody learns the key of a session. That somebody was seen is written once a minute at most, and no
request waits for it. A new password ends all sessions of its user, whoever set it and whichever way.
"""

import datetime
import logging
import uuid
from typing import Any, cast

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_save
from django.http import HttpRequest
from django.utils import timezone

from aegis_site.access.browsers import browser_in_words
from aegis_site.access.models import PENDING_FOR, GeneratedPassword, SecondFactor, Session
from aegis_site.access.session_store import CLIENT
from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import USER_TYPE
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.client_address import client_address
from aegis_site.kernel.patience import without_waiting

logger = logging.getLogger(__name__)

SEEN_EVERY = datetime.timedelta(minutes=1)


def observe() -> None:
    """Connect the receivers; to be called once, when the apps are ready.

    Signals, because Django's own pages and commands sign in and set passwords, each in its own way.
    """
    user_logged_in.connect(_note_client, dispatch_uid="aegis_site.access.session_list")
    post_save.connect(_end_after_new_password, sender=User, dispatch_uid="aegis_site.access.session_list")


def client_facts(request: HttpRequest) -> dict[str, Any]:
    """From where and since when somebody is signed in, as it stands in the data of the session."""
    return {
        "id": str(uuid.uuid4()),
        "address": client_address(request),
        "browser": browser_in_words(request.META.get("HTTP_USER_AGENT", "")),
        "since": timezone.now().isoformat(),
    }


def live_sessions(*, now: datetime.datetime) -> QuerySet[Session]:
    """Sessions of users who may sign in, that have not expired; last seen first."""
    live = Session.objects.filter(user__is_active=True, expire_date__gt=now, public_id__isnull=False)
    return live.select_related("user").order_by("-last_seen_at", "session_key")


def note_seen(request: HttpRequest) -> None:
    """Write down that the session of a request is used, at most once a minute. Never fails or delays the request."""
    now = timezone.now()
    seen_at = getattr(request.session, "last_seen_at", None)
    if seen_at is None or seen_at > now - SEEN_EVERY or request.session.modified:
        return
    due = Session.objects.filter(pk=request.session.session_key, last_seen_at__lte=now - SEEN_EVERY)
    try:
        with without_waiting(), transaction.atomic():
            due.update(last_seen_at=now)
    except DatabaseError as error:
        logger.warning("the use of a session was not written down: %s", type(error).__name__)


@transaction.atomic
def end_session(*, session: Session, by: Actor) -> None:
    """From now on whoever has it is signed out."""
    _end(Session.objects.filter(pk=session.pk), of=cast("User", session.user), by=by)


@transaction.atomic
def end_sessions(*, of: User, by: Actor | None, but: str | None = None) -> int:
    """End all sessions of a user but the one with the key `but`. How many there were."""
    return _end(Session.objects.filter(user=of).exclude(pk=but), of=of, by=by)


def prune(*, now: datetime.datetime) -> int:
    """Delete sessions that have expired, and secrets that were begun and never confirmed. How many sessions."""
    SecondFactor.objects.filter(confirmed_at=None, begun_at__lte=now - PENDING_FOR).delete()
    count: int = Session.objects.filter(expire_date__lt=now).delete()[0]
    return count


def _end(sessions: QuerySet[Session], *, of: User, by: Actor | None) -> int:
    count: int = sessions.delete()[0]
    if count:
        record(
            user=by,
            action="sessions_ended",
            target_type=USER_TYPE,
            target_id=of.pk,
            target_name=of.get_username(),
            changes=[{"field": "sessions ended", "before": None, "after": count}],
        )
    return count


def _note_client(*, request: HttpRequest, **_: Any) -> None:
    request.session[CLIENT] = client_facts(request)


def _end_after_new_password(*, instance: User, created: bool, raw: bool, **_: Any) -> None:
    # Set only between set_password() and the end of save(): today's parameters for the same password leave it unset.
    if created or raw or getattr(instance, "_password", None) is None:
        return
    # Django refuses them by their hash anyway; here they also leave the list. Who changes the own password gets a new
    # key right after this.
    Session.objects.filter(user=instance).delete()
    GeneratedPassword.objects.filter(user=instance).delete()
