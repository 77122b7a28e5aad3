"""Claims on Idempotency-Keys, and the answers that are kept for them."""

import datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.idempotency import services
from aegis_site.kernel.idempotency.models import KeptAnswer
from aegis_site.kernel.idempotency.services import (
    CLAIMED_FOR,
    KEPT_FOR,
    MAX_KEPT_BYTES,
    Answer,
    KeyInvalid,
    KeyReused,
    TooManyKeys,
    claim,
    clean_key,
    fingerprint_of,
    finish,
    prune,
)

pytestmark = pytest.mark.django_db

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
ANSWER = Answer(status=201, headers={"Location": "/x", "Set-Cookie": "y"}, body=b"canary-body")


@pytest.fixture
def user() -> User:
    return User.objects.create_user("somebody")


def claimed(user: User, key: str = "a", fingerprint: str = "f") -> KeptAnswer:
    found = claim(user=user, key=key, fingerprint=fingerprint)
    assert isinstance(found, KeptAnswer)
    return found


def code_of(user: User, **changes: Any) -> str:
    with pytest.raises(AegisError) as raised:
        claim(**{"user": user, "key": "a", "fingerprint": "f", **changes})
    return raised.value.code


def test_the_first_answer_is_kept_and_sealed(user: User) -> None:
    """Whoever comes again with the key gets it; the database does not show it, nor what belongs to a connection."""
    finish(claimed(user), ANSWER)
    assert claim(user=user, key="a", fingerprint="f") == Answer(
        status=201, headers={"Location": "/x"}, body=b"canary-body"
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM idempotency_keptanswer")
        assert b"canary" not in repr(cursor.fetchall()).encode()


def test_a_key_belongs_to_one_request_of_one_user(user: User) -> None:
    """Another request with it is refused; another user's key is another key."""
    finish(claimed(user), ANSWER)
    with pytest.raises(KeyReused) as raised:
        claim(user=user, key="a", fingerprint="other")
    assert (raised.value.status_code, raised.value.get_codes()) == (422, "idempotency_key_reused")
    claimed(User.objects.create_user("other"))
    claimed(user, key="b")


def test_a_running_request_holds_its_key_for_a_while(user: User) -> None:
    """409 until its process must have died; then whoever comes has the key, and the late answer is dropped."""
    with time_machine.travel(NOW, tick=False) as clock:
        first = claimed(user)
        assert code_of(user) == "idempotency_in_progress"
        clock.move_to(NOW + CLAIMED_FOR)
        assert code_of(user) == "idempotency_in_progress"
        clock.move_to(NOW + CLAIMED_FOR + SECOND)
        second = claimed(user, fingerprint="other")
        assert second.pk == first.pk
        finish(first, ANSWER)
        assert code_of(user, fingerprint="other") == "idempotency_in_progress"
        finish(second, ANSWER)
        assert isinstance(claim(user=user, key="a", fingerprint="other"), Answer)


def test_a_free_key_is_taken_by_one(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two requests that find a key free at the same moment, the second is told to wait."""
    with time_machine.travel(NOW, tick=False) as clock:
        stale = claimed(user)
        clock.move_to(NOW + CLAIMED_FOR + SECOND)
        claimed(user)
        monkeypatch.setattr(KeptAnswer.objects, "filter", lambda **lookup: _Found(stale, lookup))
        assert code_of(user) == "idempotency_in_progress"


class _Found:
    """What a request saw before another one took the key."""

    def __init__(self, row: KeptAnswer, lookup: dict[str, Any]) -> None:
        self._row = row
        self._rows = KeptAnswer._base_manager.filter(**lookup)

    def first(self) -> KeptAnswer:
        return self._row

    def update(self, **changes: Any) -> int:
        return self._rows.update(**changes)


def test_two_new_requests_at_once(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's uniqueness decides who has the key."""
    claimed(user)
    monkeypatch.setattr(KeptAnswer.objects, "filter", lambda **lookup: KeptAnswer._base_manager.none())
    assert code_of(user) == "idempotency_in_progress"


def test_what_aegis_failed_at_is_tried_again(user: User) -> None:
    """An answer of 500 and above frees the key; a refusal is kept like any answer."""
    finish(claimed(user), Answer(status=503, headers={}, body=b""))
    finish(claimed(user), Answer(status=400, headers={}, body=b"no"))
    assert claim(user=user, key="a", fingerprint="f") == Answer(status=400, headers={}, body=b"no")


def test_a_large_answer_is_not_kept(user: User) -> None:
    """The request is not done again either: 409 says what became of it."""
    finish(claimed(user), Answer(status=200, headers={}, body=b"x" * (MAX_KEPT_BYTES + 1)))
    assert code_of(user) == "idempotency_answer_not_kept"
    assert KeptAnswer.objects.get().body is None


def test_the_number_of_a_users_keys_is_bounded(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """429, rather than a promise that could not be kept; known keys go on to work."""
    monkeypatch.setattr(services, "MAX_KEPT_PER_USER", 1)
    finish(claimed(user), ANSWER)
    with pytest.raises(TooManyKeys):
        claim(user=user, key="b", fingerprint="f")
    assert isinstance(claim(user=user, key="a", fingerprint="f"), Answer)


def test_pruning(user: User) -> None:
    """After a day a key is free, and its row goes with the next sweep."""
    with time_machine.travel(NOW, tick=False) as clock:
        finish(claimed(user), ANSWER)
        clock.move_to(NOW + KEPT_FOR)
        assert prune(now=NOW + KEPT_FOR) == 0
        clock.move_to(NOW + KEPT_FOR + SECOND)
        claimed(user, fingerprint="another")
    assert prune(now=NOW + KEPT_FOR + SECOND) == 0
    assert prune(now=NOW + 2 * KEPT_FOR + 2 * SECOND) == 1


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets it; the log says why nobody else will."""

    def fail(*_: Any) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr(services, "_finish", fail)
    finish(claimed(user), ANSWER)
    assert "was not kept" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("key", ["a", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~"])
def test_keys(key: str) -> None:
    """Visible ASCII, as it is."""
    assert clean_key(key) == key


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "a\n", "\x7f"])
def test_what_is_no_key(key: str) -> None:
    """400, at the name of the field."""
    with pytest.raises(KeyInvalid) as raised:
        clean_key(key)
    assert raised.value.status_code == 400
    assert list(raised.value.get_codes()) == ["Idempotency-Key"]


def test_fingerprints() -> None:
    """Any part of a request makes a difference; bodies cannot be guessed from it without the installation's secret."""
    request = {"method": "POST", "target": "/a", "media_type": "application/json", "body": b"{}"}
    first = fingerprint_of(**request)  # type: ignore[arg-type]
    assert first == fingerprint_of(**request)  # type: ignore[arg-type]
    changes = [{"method": "PUT"}, {"target": "/b"}, {"media_type": "text/yaml"}, {"body": b"[]"}]
    others = {fingerprint_of(**request | change) for change in changes}  # type: ignore[arg-type]
    assert len(others | {first}) == 5
