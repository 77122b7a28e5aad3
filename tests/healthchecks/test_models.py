"""models: what the tables themselves admit."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from healthchecks.models import HealthCheck, HealthSummary, HealthTransition, UpstreamHealth
from tests.healthchecks.examples import NOW, checked, checked_host

pytestmark = pytest.mark.django_db


def test_a_timeout_is_shorter_than_the_interval() -> None:
    """So that no upstream is checked twice at once; in the form and in the database."""
    check = checked_host().health_check
    check.timeout_s = 10.0
    with pytest.raises(ValidationError, match="Less than the interval"):
        check.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        check.save()


@pytest.mark.parametrize("name", ["kind", "method"])
def test_choices_are_constraints(name: str) -> None:
    """Whoever writes around the model."""
    checked_host()
    with pytest.raises(IntegrityError), transaction.atomic():
        HealthCheck.objects.update(**{name: "x"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_no_number_that_is_none_is_a_timeout(value: float) -> None:
    """JSON has such numbers, in a way."""
    check = checked_host().health_check
    check.timeout_s = value
    with pytest.raises(ValidationError):
        check.full_clean(validate_constraints=False)


def test_rows_say_what_they_are() -> None:
    """In lists and logs."""
    host = checked_host(unhealthy_after=1)
    checked(NOW, is_ok=False)
    upstream_id = host.upstreams.get().pk
    assert str(host.health_check) == f"health check of host {host.pk}"
    assert str(UpstreamHealth.objects.get()) == f"{upstream_id}: unhealthy"
    assert str(HealthTransition.objects.get()) == f"unknown -> unhealthy at {NOW}"
    assert str(HealthSummary.objects.get()) == f"1 checks in 60 s from {int(NOW.timestamp()) // 60 * 60}"


def test_history_goes_with_its_upstream() -> None:
    """All of it."""
    host = checked_host(unhealthy_after=1)
    checked(NOW, is_ok=False)
    host.delete()
    assert not any(model.objects.exists() for model in (UpstreamHealth, HealthTransition, HealthSummary))
