"""What the tables themselves admit."""

from typing import get_args

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

import proxyworker.snapshot
from hosts.models import Domain, GenerationCounter, Host, LoadBalancing, Upstream

pytestmark = pytest.mark.django_db


def test_names_and_domains_are_unique() -> None:
    """The database refuses what the services would have refused."""
    host = Host.objects.create(name="orders")
    Domain.objects.create(host=host, name="orders.example.com")
    with pytest.raises(IntegrityError), transaction.atomic():
        Host.objects.create(name="orders")
    with pytest.raises(IntegrityError), transaction.atomic():
        Domain.objects.create(host=host, name="orders.example.com")


@pytest.mark.parametrize("values", [{"port": 0}, {"port": 65536}, {"scheme": "ftp"}, {"weight": 0}, {"weight": 1001}])
def test_the_values_of_an_upstream_are_bounded(values: dict[str, object]) -> None:
    """Both by the form's validators and by the database."""
    upstream = Upstream(**{"host": Host.objects.create(name="orders"), "address": "a", "port": 443, **values})
    with pytest.raises(ValidationError):
        upstream.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        upstream.save()


def test_the_ways_of_balancing_are_those_of_the_snapshot() -> None:
    """The worker knows no other, and the database holds no other."""
    assert set(LoadBalancing.values) == set(get_args(proxyworker.snapshot.LoadBalancing))
    with pytest.raises(IntegrityError), transaction.atomic():
        Host.objects.create(name="orders", load_balancing="fastest")


def test_an_upstream_reads_as_a_url() -> None:
    """IPv6 addresses get their brackets back."""
    assert str(Upstream(scheme="https", address="::1", port=9443)) == "https://[::1]:9443"
    assert str(Upstream(scheme="http", address="backend", port=80)) == "http://backend:80"


def test_cleaning_an_upstream_normalises_its_address() -> None:
    """An error stands at the field."""
    upstream = Upstream(address="[::1]", port=1)
    upstream.full_clean(exclude={"host"})
    assert upstream.address == "::1"
    with pytest.raises(ValidationError) as caught:
        Upstream(address="a b", port=1).full_clean(exclude={"host"})
    assert list(caught.value.error_dict) == ["address"]


def test_there_is_one_generation_counter() -> None:
    """A second row could give out a generation twice."""
    GenerationCounter.objects.create(value=7)
    with pytest.raises(IntegrityError), transaction.atomic():
        GenerationCounter.objects.create(id=2)
