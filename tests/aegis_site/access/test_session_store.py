"""Sessions with the columns that say whose they are."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from aegis_site.access.models import Session
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> User:
    return user_of("viewer")


def test_a_session_of_nobody(client: Client) -> None:
    """Has no owner, and is in no list."""
    store = client.session
    store["something"] = 1
    store.save()
    row = Session.objects.get()
    assert (row.user, row.public_id, row.began_at, row.browser) == (None, None, None, "")


def test_another_key_for_the_same_session(client: Client, viewer: User) -> None:
    """Owner and public id stay, only the key is another one. (With unique ids this never ended.)"""
    client.force_login(viewer)
    before = Session.objects.get()
    store = client.session
    store.cycle_key()
    store.save()
    after = Session.objects.get()
    assert after.pk != before.pk
    assert (after.user, after.public_id, after.began_at) == (viewer, before.public_id, before.began_at)
    assert Session.get_session_store_class() is type(store)


def test_a_sign_out_leaves_none(client: Client, viewer: User) -> None:
    """The row goes with it."""
    client.force_login(viewer)
    client.post("/admin/logout/")
    assert not Session.objects.filter(user=viewer).exists()
