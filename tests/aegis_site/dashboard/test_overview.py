"""What one user sees of how everything stands."""

import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from aegis_site.dashboard.overview import ROWS_SHOWN, Some, overview
from hosts.expiry.expiring import Role
from hosts.models import Host
from localca.services import ensure_authority
from tests.aegis_site.dashboard.examples import NOW
from tests.hosts.examples import make_host
from tests.hosts.expiry.examples import full_host
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db


def test_some_of_many(django_assert_num_queries: Any) -> None:
    """All are counted, the first are there; few need one query."""
    for number in range(ROWS_SHOWN):
        make_host(f"host{number}")
    with django_assert_num_queries(1):
        assert Some.of(Host.objects.all()).count == ROWS_SHOWN
    make_host("one-more")
    some = Some.of(Host.objects.all())
    assert (some.count, len(some.rows)) == (ROWS_SHOWN + 1, ROWS_SHOWN)


def test_ends_of_which_one_is_told() -> None:
    """The local CA's list is replaced every day, so that it ends in a week is no news; in two days it is."""
    ensure_authority()
    full_host()
    root = User.objects.create_superuser("root")

    def roles(days: int) -> set[Role]:
        return {one.role for one in overview(root, now=NOW + datetime.timedelta(days=days)).ends or ()}

    assert Role.CLIENT in roles(0)
    assert Role.LOCAL_REVOCATION_LIST not in roles(0)
    assert Role.LOCAL_REVOCATION_LIST in roles(6)


def test_what_may_not_be_seen_is_not_asked_for(django_assert_num_queries: Any) -> None:
    """Without a permission everything is None, and costs the two queries for permissions."""
    nobody = User.objects.create_user("nobody", is_staff=True)
    with django_assert_num_queries(2):
        found = overview(nobody, now=NOW)
    assert {getattr(found, name) for name in found.__slots__} == {None}
    viewer = overview(user_of("viewer"), now=NOW)
    assert [name for name in viewer.__slots__ if getattr(viewer, name) is None] == ["undelivered"]
