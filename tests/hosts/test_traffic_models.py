"""What the table of traffic settings itself admits."""

import dataclasses

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from hosts.models import Host
from hosts.traffic_models import BOUNDS, TrafficConfiguration
from proxyworker.snapshot import Deadlines, HostLimits, PassiveHealth, Retries

pytestmark = pytest.mark.django_db


def test_columns_and_defaults_are_those_of_the_snapshot() -> None:
    """A new field there fails here until it has its column and its bounds."""
    parts = (Deadlines(), PassiveHealth(), Retries(), HostLimits())
    defaults = {name: value for part in parts for name, value in dataclasses.asdict(part).items()}
    row = TrafficConfiguration()
    assert {name: getattr(row, name) for name in defaults} == defaults
    assert BOUNDS.keys() == defaults.keys()
    TrafficConfiguration(host=Host.objects.create(name="orders")).full_clean(
        exclude=["request_headers", "response_headers"]
    )


@pytest.mark.parametrize("name", BOUNDS)
def test_every_value_has_bounds(name: str) -> None:
    """In the forms' validators and in the database."""
    for value in (BOUNDS[name].low - 1, BOUNDS[name].high + 1):
        row = TrafficConfiguration(host=Host.objects.create(name=f"host {value}"), **{name: value})
        with pytest.raises(ValidationError) as caught:
            row.full_clean(exclude=["request_headers", "response_headers"])
        assert name in caught.value.error_dict
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save()


def test_the_longest_pause_is_not_shorter_than_the_first() -> None:
    """Said at the field, and held by the database."""
    row = TrafficConfiguration(host=Host.objects.create(name="orders"), backoff_s=60, backoff_max_s=1)
    with pytest.raises(ValidationError, match="cannot be shorter than the first"):
        row.clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def test_the_row_goes_with_its_host() -> None:
    """Nothing is left of a deleted host."""
    host = Host.objects.create(name="orders")
    TrafficConfiguration.objects.create(host=host)
    host.delete()
    assert not TrafficConfiguration.objects.exists()
