"""The sweeps of the local CA."""

import datetime

import pytest
import time_machine
from django.utils import timezone

from aegis_site.celery import app
from localca.revocation import current_list
from localca.services import ensure_authority
from localca.tasks import refresh_revocation_lists

pytestmark = pytest.mark.django_db


def test_the_sweep_makes_a_new_list_after_a_day() -> None:
    """Run twice, it makes one."""
    authority = ensure_authority()
    with time_machine.travel(timezone.now() + datetime.timedelta(days=1), tick=False):
        for _ in range(2):
            refresh_revocation_lists()
        assert current_list(authority).number == 2


def test_it_is_scheduled() -> None:
    """Beat knows the task by its name."""
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert refresh_revocation_lists.name in scheduled
