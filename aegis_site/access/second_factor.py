"""One-time passwords by time (TOTP, RFC 6238) and recovery codes: having them, using them, losing them.

Laws of this module:
- A code is accepted once (RFC 6238 section 5.2: "The verifier MUST NOT accept the second attempt of the OTP after the
  successful validation has been issued for the first OTP"), and none of an earlier step after it.
- Wrong codes are counted for each user as well, from wherever they come: only who knows the password gets so far, and
  many addresses together would find six digits. A recovery code has 80 random bits and needs no such limit.
- Turning it on or off, or resetting it, ends the user's other sessions: none is left that began under other rules.
- Every event is in the audit log, without secret and codes.
"""

import base64
import datetime
import hashlib
import re
import secrets
from enum import Enum, auto

import pyotp
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from aegis_site.access.models import RecoveryCode, SecondFactor
from aegis_site.access.session_list import end_sessions
from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.recording import USER_TYPE
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.site_settings.services import current_settings

STEP_S = 30
# A clock may be half a minute wrong, and a person takes a while to type (RFC 6238 section 5.2 allows one step).
DRIFT_STEPS = 1
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
# So many wrong codes in a row, then none is accepted for the time of a lock; twice as long each time after that.
FAILURES_BEFORE_REFUSAL = 10
_MAX_DOUBLINGS = 6

RESET = "second_factor_reset"

_IS_CODE = re.compile(r"[0-9]{6}")
_NOISE = re.compile(r"[\s-]+")


class Verdict(Enum):
    """What an answer was worth."""

    CODE = auto()
    RECOVERY_CODE = auto()
    WRONG = auto()
    REFUSED = auto()  # too many wrong ones before: it was not looked at


class AlreadyOn(AegisError):
    """Somebody begins what has been confirmed, perhaps in another window."""

    def __init__(self) -> None:
        super().__init__("second_factor_on", "Two-factor sign-in is on already. Turn it off to begin anew.")


def confirmed_factor(user: User) -> SecondFactor | None:
    """That of a user who has one and has confirmed it. One query."""
    return SecondFactor.objects.filter(user_id=user.pk, confirmed_at__isnull=False).select_related("user").first()


def pending_factor(user: User) -> SecondFactor | None:
    """That which waits for its first code. One query."""
    factor = SecondFactor.objects.filter(user_id=user.pk, confirmed_at=None).first()
    return factor if factor is not None and factor.is_pending(now=timezone.now()) else None


@transaction.atomic
def begin(*, user: User) -> SecondFactor:
    """A new secret, which protects nothing before its first code. Raises AlreadyOn."""
    User.objects.select_for_update().get(pk=user.pk)  # two clicks make one
    if confirmed_factor(user) is not None:
        raise AlreadyOn
    SecondFactor.objects.filter(user=user).delete()
    return SecondFactor.objects.create(user=user, secret=Sealed.of(pyotp.random_base32()))


def secret_of(factor: SecondFactor) -> str:
    """In base32, as apps take it. Raises SecretUnreadable."""
    return factor.secret.reveal().decode()  # type: ignore[no-any-return]


def provisioning_uri(factor: SecondFactor) -> str:
    """What the picture says: an `otpauth://` address with the secret in it. One query."""
    totp = pyotp.TOTP(secret_of(factor))
    return totp.provisioning_uri(name=factor.user.get_username(), issuer_name=current_settings().site_name)


@transaction.atomic
def confirm(*, factor: SecondFactor, code: str, session_key: str | None, now: datetime.datetime) -> list[str] | None:
    """Turn it on by the first code, and end the user's other sessions. The recovery codes; None: a wrong code."""
    step = _step_of(factor, _without_noise(code), now)
    waiting = SecondFactor.objects.filter(pk=factor.pk, confirmed_at=None)
    if step is None or not waiting.update(confirmed_at=now, last_step=step):
        return None
    _record(factor.user, "second_factor_on", by=factor.user)
    end_sessions(of=factor.user, by=factor.user, but=session_key)
    return _new_recovery_codes(factor)


@transaction.atomic
def check(*, factor: SecondFactor, answer: str, now: datetime.datetime) -> Verdict:
    """Whether a code or a recovery code is right. It is used up by that."""
    answer = _without_noise(answer)
    if not _IS_CODE.fullmatch(answer):
        return _check_recovery_code(factor, answer, now)
    if factor.refused_until is not None and factor.refused_until > now:
        return Verdict.REFUSED
    step = _step_of(factor, answer, now)
    unused = SecondFactor.objects.filter(pk=factor.pk, last_step__lt=step or 0)
    if step is not None and unused.update(last_step=step, failures=0, refused_until=None):
        return Verdict.CODE
    return _wrong(factor, now)


@transaction.atomic
def renew_recovery_codes(*, factor: SecondFactor) -> list[str]:
    """Ten new ones; the others are worth nothing from now on."""
    _record(factor.user, "recovery_codes_renewed", by=factor.user)
    return _new_recovery_codes(factor)


@transaction.atomic
def turn_off(*, factor: SecondFactor, session_key: str | None) -> None:
    """By the user, who has proved to be it. Ends the user's other sessions."""
    _record(factor.user, "second_factor_off", by=factor.user)
    factor.delete()
    end_sessions(of=factor.user, by=factor.user, but=session_key)


@transaction.atomic
def reset(*, user: User, by: Actor | None) -> bool:
    """For a user who has lost it: gone, with all of the user's sessions. False: there was none."""
    factor = confirmed_factor(user)
    if factor is None:
        return False
    _record(user, RESET, by=by)
    factor.delete()
    end_sessions(of=user, by=by)
    return True


def reset_since_last_sign_in(user: User) -> AuditEntry | None:
    """The reset that the user has not been told of. To be asked before the sign-in is noted. One query."""
    resets = AuditEntry.objects.filter(target_type=USER_TYPE, target_id=str(user.pk), action=RESET)
    return resets.filter(at__gt=user.last_login or user.date_joined).first()


def lift_refusal(*, factor: SecondFactor, by: Actor) -> None:
    """Codes are accepted again before the time of their lock is over."""
    with transaction.atomic():
        SecondFactor.objects.filter(pk=factor.pk).update(failures=0, refused_until=None)
        _record(factor.user, "codes_unlocked", by=by)


def _check_recovery_code(factor: SecondFactor, answer: str, now: datetime.datetime) -> Verdict:
    # Deleted and found in one statement, so that two requests cannot use the same one.
    used, _ = RecoveryCode.objects.filter(factor=factor, digest=_digest(answer)).delete()
    if not used:
        return _wrong(factor, now)
    SecondFactor.objects.filter(pk=factor.pk).update(failures=0, refused_until=None)
    _record(factor.user, "recovery_code_used", by=factor.user)
    return Verdict.RECOVERY_CODE


def _wrong(factor: SecondFactor, now: datetime.datetime) -> Verdict:
    locked = SecondFactor.objects.select_for_update().get(pk=factor.pk)
    locked.failures += 1
    rounds, rest = divmod(locked.failures, FAILURES_BEFORE_REFUSAL)
    if rest == 0:
        wait_s = settings.AEGIS_LOGIN_COOL_OFF_S * 2 ** min(rounds - 1, _MAX_DOUBLINGS)
        locked.refused_until = now + datetime.timedelta(seconds=wait_s)
        _record(factor.user, "codes_locked", by=None)
    locked.save(update_fields=["failures", "refused_until"])
    return Verdict.WRONG


def _step_of(factor: SecondFactor, code: str, now: datetime.datetime) -> int | None:
    """The time step, within the drift, whose code it is."""
    totp = pyotp.TOTP(secret_of(factor))
    current = int(now.timestamp()) // STEP_S
    steps = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    return next((step for step in steps if constant_time_compare(totp.generate_otp(step), code)), None)


def _new_recovery_codes(factor: SecondFactor) -> list[str]:
    factor.recovery_codes.all().delete()
    codes = [base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create([RecoveryCode(factor=factor, digest=_digest(code)) for code in codes])
    return ["-".join(re.findall("....", code)) for code in codes]


def _digest(code: str) -> str:
    """Of 80 random bits an unsalted digest tells nothing."""
    return hashlib.sha256(code.encode()).hexdigest()


def _without_noise(answer: str) -> str:
    return _NOISE.sub("", answer).lower()


def _record(user: User, action: str, *, by: Actor | None) -> None:
    record(user=by, action=action, target_type=USER_TYPE, target_id=user.pk, target_name=user.get_username())
