"""models: one group for each upstream and code."""

import pytest
from django.db import IntegrityError

from healthchecks.failures.models import FailureCount, FailureGroup
from tests.healthchecks.failures.examples import failed, keep, reported
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def test_one_group_of_each_kind() -> None:
    """The database refuses a second one."""
    group = failed(make_host())
    group.pk = None
    with pytest.raises(IntegrityError):
        group.save(force_insert=True)


def test_they_go_with_their_upstream() -> None:
    """And with their host."""
    host = make_host()
    failed(host)
    host.upstreams.all().delete()
    assert not FailureGroup.objects.exists()


def test_rows_name_themselves() -> None:
    """In logs, without a query."""
    host = make_host()
    keep(reported(host))
    assert str(FailureCount.objects.get()) == "client_certificate_untrusted: 3"
    assert str(failed(host)).startswith("client_certificate_untrusted at ")
