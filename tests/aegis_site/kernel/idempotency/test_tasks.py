"""The sweep over kept answers."""

import datetime

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from aegis_site.celery import app
from aegis_site.kernel.idempotency.models import KeptAnswer
from aegis_site.kernel.idempotency.services import KEPT_FOR
from aegis_site.kernel.idempotency.tasks import forget_kept_answers


@pytest.mark.django_db
def test_old_answers_are_forgotten() -> None:
    """Those whose time is over, and no others."""
    user, now = User.objects.create_user("somebody"), timezone.now()
    for key, age in (("old", KEPT_FOR + datetime.timedelta(minutes=1)), ("new", datetime.timedelta())):
        KeptAnswer.objects.create(user=user, key=key, fingerprint="f", claimed_at=now - age)
    forget_kept_answers()
    assert [answer.key for answer in KeptAnswer.objects.all()] == ["new"]


def test_the_sweep_is_in_the_table() -> None:
    """Beat knows it by its name."""
    assert forget_kept_answers.name in {entry["task"] for entry in app.conf.beat_schedule.values()}
