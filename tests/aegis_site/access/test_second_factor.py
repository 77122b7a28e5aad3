"""Codes and recovery codes: right once, and counted when wrong."""

import datetime
import hashlib

import pyotp
import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from aegis_site.access import second_factor
from aegis_site.access.models import RecoveryCode, SecondFactor, Session
from aegis_site.access.second_factor import AlreadyOn, Verdict, check
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.keyring import get_keyring
from aegis_site.kernel.secrets import sealed_columns
from tests.support.second_factors import code_at, enrolled

pytestmark = pytest.mark.django_db

NOW = datetime.datetime(2026, 1, 1, 12, 0, 10, tzinfo=datetime.UTC)


def seconds(count: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=count)


@pytest.fixture
def user() -> User:
    return User.objects.create_user("alice", password="correct horse battery", is_staff=True)


def test_codes_are_those_of_the_rfc(user: User) -> None:
    """RFC 6238 appendix B, in six digits: the secret "12345678901234567890" at 59 s and at 20000000000 s."""
    factor = enrolled(user, now=NOW).factor
    factor.secret = second_factor.Sealed.of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    factor.last_step = 0
    factor.save()
    for at_s, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        now = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
        assert check(factor=factor, answer=code, now=now) is Verdict.CODE


@pytest.mark.parametrize(("of_s", "verdict"), [(-61, "WRONG"), (-30, "CODE"), (0, "CODE"), (30, "CODE"), (60, "WRONG")])
def test_one_step_of_drift(user: User, of_s: int, verdict: str) -> None:
    """The clock of the device may be half a minute behind or ahead."""
    factor = enrolled(user, now=NOW - seconds(600)).factor
    code = code_at(factor, NOW + seconds(of_s))
    assert check(factor=factor, answer=f" {code[:3]} {code[3:]} ", now=NOW) is Verdict[verdict]


def test_a_code_is_accepted_once(user: User) -> None:
    """Nor is one of an earlier step after it, though that were within the drift. That which turned it on counts too."""
    factor = enrolled(user, now=NOW).factor
    assert check(factor=factor, answer=code_at(factor, NOW), now=NOW) is Verdict.WRONG
    later = NOW + seconds(30)
    assert check(factor=factor, answer=code_at(factor, later), now=later) is Verdict.CODE
    assert check(factor=factor, answer=code_at(factor, later), now=later) is Verdict.WRONG
    assert check(factor=factor, answer=code_at(factor, NOW), now=later) is Verdict.WRONG


def test_recovery_codes_work_once_each(user: User) -> None:
    """However they are typed; stored is a digest."""
    alice = enrolled(user, now=NOW)
    first, second = alice.codes[:2]
    assert len(set(alice.codes)) == 10
    assert len(first.replace("-", "")) * 5 >= 80
    stored = set(RecoveryCode.objects.values_list("digest", flat=True))
    assert hashlib.sha256(first.replace("-", "").encode()).hexdigest() in stored
    assert check(factor=alice.factor, answer=first.upper().replace("-", " "), now=NOW) is Verdict.RECOVERY_CODE
    assert check(factor=alice.factor, answer=first, now=NOW) is Verdict.WRONG
    assert check(factor=alice.factor, answer=second, now=NOW) is Verdict.RECOVERY_CODE
    assert alice.factor.recovery_codes.count() == 8
    bob = enrolled(User.objects.create_user("bob"), now=NOW)
    assert check(factor=alice.factor, answer=bob.codes[0], now=NOW) is Verdict.WRONG
    fresh = second_factor.renew_recovery_codes(factor=alice.factor)
    assert check(factor=alice.factor, answer=alice.codes[2], now=NOW) is Verdict.WRONG
    assert check(factor=alice.factor, answer=fresh[0], now=NOW) is Verdict.RECOVERY_CODE


def test_many_addresses_do_not_find_six_digits(user: User, settings: Settings) -> None:
    """After ten wrong codes none is looked at, twice as long each time; a recovery code still is, and ends it."""
    settings.AEGIS_LOGIN_COOL_OFF_S = 100
    alice = enrolled(user, now=NOW - seconds(600))
    factor, now = alice.factor, NOW

    def answer(text: str) -> Verdict:
        factor.refresh_from_db()
        return check(factor=factor, answer=text, now=now)

    wrong = next(
        f"{n:06}" for n in range(9) if f"{n:06}" not in {code_at(factor, NOW + seconds(s)) for s in range(-60, 400, 30)}
    )
    assert {answer(wrong) for _ in range(10)} == {Verdict.WRONG}
    assert answer(code_at(factor, now)) is Verdict.REFUSED
    now = NOW + seconds(101)
    assert {answer(wrong) for _ in range(10)} == {Verdict.WRONG}
    now += seconds(101)
    assert answer(code_at(factor, now)) is Verdict.REFUSED
    assert answer(alice.codes[0]) is Verdict.RECOVERY_CODE
    assert answer(code_at(factor, now)) is Verdict.CODE
    assert AuditEntry.objects.filter(action="codes_locked").count() == 2


def test_the_secret_is_sealed_and_rotated_with_the_others(user: User) -> None:
    """It is in the database under the keyring, and found by `rotate_ssl_key`."""
    factor = enrolled(user, now=NOW).factor
    assert SecondFactor in {model for model, _ in sealed_columns()}
    secret = second_factor.secret_of(factor)
    stored = SecondFactor.objects.get()
    assert secret.encode() not in stored.secret.blob
    assert get_keyring().is_current(stored.secret.blob)
    assert "alice" in second_factor.provisioning_uri(stored)
    assert pyotp.parse_uri(second_factor.provisioning_uri(stored)).secret == secret  # type: ignore[union-attr]


def test_beginning(user: User) -> None:
    """A secret waits for a quarter of an hour; beginning again makes another; what is on is not begun."""
    first = second_factor.begin(user=user)
    second = second_factor.begin(user=user)
    assert second_factor.secret_of(first) != second_factor.secret_of(second)
    assert second_factor.confirmed_factor(user) is None
    SecondFactor.objects.update(begun_at=NOW)
    assert second_factor.pending_factor(user) is None
    enrolled(user, now=NOW)
    with pytest.raises(AlreadyOn):
        second_factor.begin(user=user)


def test_turning_it_on_ends_other_sessions(user: User, client: Client) -> None:
    """They began by the password alone. So does a reset, of all."""
    client.force_login(user)
    other = Client()
    other.force_login(user)
    factor = second_factor.begin(user=user)
    code = code_at(factor, NOW)
    assert second_factor.confirm(factor=factor, code="x", session_key=None, now=NOW) is None
    assert second_factor.confirm(factor=factor, code=code, session_key=client.session.session_key, now=NOW)
    assert second_factor.confirm(factor=factor, code=code, session_key=None, now=NOW) is None
    assert [row.pk for row in Session.objects.all()] == [client.session.session_key]
    assert second_factor.reset(user=user, by=None)
    assert not second_factor.reset(user=user, by=None)
    assert not Session.objects.exists()
    actions = set(AuditEntry.objects.filter(target_name="alice").values_list("action", flat=True))
    assert {"second_factor_on", "sessions_ended", "second_factor_reset"} <= actions
