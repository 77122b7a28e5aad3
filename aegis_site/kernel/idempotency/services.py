"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST that is sent again is not done again.

Laws of this module:
- A key belongs to one user and to one request. It is claimed before the request runs, by the database's uniqueness.
- The first answer is kept, refusals included, and replayed for KEPT_FOR. Answers of 500 and above free the key.
- A claim whose process died is free after CLAIMED_FOR. Until then the request may be running, so a repetition waits.
- What is kept is bounded: by size of an answer, by number of a user, by time.
"""

import datetime
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework import exceptions, status

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.idempotency.models import KeptAnswer

logger = logging.getLogger(__name__)

KEPT_FOR = datetime.timedelta(hours=24)
# Twice what the longest request takes, an import of a thousand hosts, and then some.
CLAIMED_FOR = datetime.timedelta(minutes=2)
MAX_KEPT_BYTES = 1024 * 1024
# A script that makes everything anew every hour stays below it.
MAX_KEPT_PER_USER = 10_000
PRUNED_AT_ONCE = 1000

KEY_PATTERN = r"[\x21-\x7e]{1,255}"
# What of an answer's header section belongs to the answer and not to the connection.
KEPT_HEADERS = ("Content-Type", "Content-Disposition", "Location", "ETag", "Retry-After", "Cache-Control", "Vary")

_HEADER = "Idempotency-Key"


class KeyInvalid(exceptions.APIException):
    """The key is not what a key may be."""

    status_code = status.HTTP_400_BAD_REQUEST


class KeyReused(exceptions.APIException):
    """The key came with another request before."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request. Take a new one for each request."


class KeyInProgress(AegisError):
    """The first request with this key is running."""


class AnswerNotKept(AegisError):
    """The request was carried out, and its answer is not kept: too large, a stream, or with a private key in it."""


class TooManyKeys(exceptions.APIException):
    """A user has used as many keys as are kept."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "too_many_idempotency_keys"
    default_detail = f"{MAX_KEPT_PER_USER} answers are kept for you already. Send requests without Idempotency-Key."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got; without its body when that is not to be kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)


def clean_key(text: str) -> str:
    """A key as it is stored. Raises KeyInvalid."""
    if not re.fullmatch(KEY_PATTERN, text):
        raise KeyInvalid({_HEADER: "1 to 255 visible ASCII characters."}, code="invalid")
    return text


def fingerprint_of(*, method: str, target: str, media_type: str, body: bytes) -> str:
    """What tells requests apart. Keyed, because a body may hold a password that somebody could guess."""
    content = b"\n".join([f"{method} {target} {media_type}".encode(), body])
    return salted_hmac("aegis.idempotency", content, algorithm="sha256").hexdigest()


def claim(*, user: AbstractBaseUser, key: str, fingerprint: str) -> KeptAnswer | Answer:
    """The claim of whoever may run the request now, or the answer that it got before.

    Raises KeyReused, KeyInProgress, AnswerNotKept, TooManyKeys, SecretUnreadable. Two queries, three for a new key.
    """
    now = timezone.now()
    known = KeptAnswer.objects.filter(user_id=user.pk, key=key).first()
    if known is None:
        if KeptAnswer.objects.filter(user_id=user.pk).count() >= MAX_KEPT_PER_USER:
            raise TooManyKeys
        try:
            with transaction.atomic():
                return KeptAnswer.objects.create(user_id=user.pk, key=key, fingerprint=fingerprint, claimed_at=now)
        except IntegrityError as error:
            raise _in_progress() from error
    if _is_free(known, now):
        return _taken_over(known, fingerprint=fingerprint, now=now)
    if known.fingerprint != fingerprint:
        raise KeyReused
    return _kept(known)


def finish(claimed: KeptAnswer, answer: Answer) -> None:
    """Keep the answer to a claimed request, or free its key when Aegis failed. Never raises."""
    try:
        with transaction.atomic():
            _finish(claimed, answer)
    except (DatabaseError, AegisError):
        # The key stays claimed until CLAIMED_FOR is over.
        logger.exception("the answer to a request with an Idempotency-Key was not kept")


def prune(*, now: datetime.datetime) -> int:
    """Delete what nobody can ask for any more, so many at a time. How many."""
    old = KeptAnswer.objects.filter(claimed_at__lt=now - KEPT_FOR).values_list("pk", flat=True)[:PRUNED_AT_ONCE]
    return KeptAnswer.objects.filter(pk__in=list(old)).delete()[0]


def _is_free(known: KeptAnswer, now: datetime.datetime) -> bool:
    return known.claimed_at < now - (CLAIMED_FOR if known.status is None else KEPT_FOR)


def _taken_over(known: KeptAnswer, *, fingerprint: str, now: datetime.datetime) -> KeptAnswer:
    """A free key, claimed by compare-and-set: of two that come at once, one gets it."""
    changes = {"fingerprint": fingerprint, "claimed_at": now, "status": None, "headers": {}, "is_dropped": False}
    mine = KeptAnswer.objects.filter(pk=known.pk, claimed_at=known.claimed_at).update(body=None, **changes)
    if not mine:
        raise _in_progress()
    return KeptAnswer.objects.get(pk=known.pk)


def _kept(known: KeptAnswer) -> Answer:
    if known.status is None:
        raise _in_progress()
    if known.is_dropped:
        raise AnswerNotKept(
            "idempotency_answer_not_kept", f"This request was carried out (status {known.status}); its answer is gone."
        )
    body = known.body.reveal() if known.body is not None else b""
    return Answer(status=known.status, headers=known.headers, body=body)


def _in_progress() -> KeyInProgress:
    return KeyInProgress("idempotency_in_progress", "The first request with this Idempotency-Key is still running.")


def _finish(claimed: KeptAnswer, answer: Answer) -> None:
    mine = KeptAnswer.objects.select_for_update().filter(pk=claimed.pk, claimed_at=claimed.claimed_at, status=None)
    kept = mine.first()
    if kept is None:  # it took longer than CLAIMED_FOR, and somebody else has the key
        return
    if answer.status >= status.HTTP_500_INTERNAL_SERVER_ERROR:
        kept.delete()
        return
    kept.status = answer.status
    kept.headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    body = answer.body if answer.body is not None and len(answer.body) <= MAX_KEPT_BYTES else None
    kept.is_dropped = body is None
    kept.body = Sealed.of(body) if body is not None else None
    kept.save()
