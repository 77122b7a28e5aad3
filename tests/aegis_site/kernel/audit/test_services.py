"""Writing entries."""

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.origin import Origin, source
from aegis_site.kernel.audit.services import Event, record, record_many

pytestmark = pytest.mark.django_db


def test_an_entry_names_who_whence_and_what() -> None:
    """With the address of the client."""
    user = User.objects.create_user("operator")
    with source(Origin.API, client_address="192.0.2.1"):
        record(user=user, action="created", target_type="host", target_id=7, target_name="orders")
    entry = AuditEntry.objects.get(target_type="host")
    assert (entry.user, entry.user_name, entry.origin, entry.client_address) == (user, "operator", "api", "192.0.2.1")
    assert (entry.target_id, entry.target_name, entry.changes) == ("7", "orders", [])
    assert str(entry) == "host orders created"


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_nobody(user: AnonymousUser | None) -> None:
    """Who is not signed in is nobody; the entry is there all the same."""
    record(user=user, action="created", target_type="host", target_id="", target_name="orders")
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.user_name, entry.origin) == (None, "", "system")


def test_names_are_made_storable() -> None:
    """What a database refuses in a name is replaced, what is too long is cut."""
    record(user=None, action="x", target_type="user", target_id="y" * 99, target_name="a\0\ud800" + "b" * 999)
    entry = AuditEntry.objects.get()
    assert entry.target_name == "a\N{REPLACEMENT CHARACTER}?" + "b" * 252
    assert len(entry.target_id) == 64


def test_many_take_few_statements() -> None:
    """An import of a thousand hosts writes its entries in as few inserts as the database takes."""
    events = [
        Event(user=None, action="created", target_type="host", target_id=i, target_name=str(i)) for i in range(1000)
    ]
    with CaptureQueriesContext(connection) as queries:
        record_many(events)
    assert AuditEntry.objects.count() == 1000
    assert len([query for query in queries if query["sql"].startswith("INSERT")]) < 20


def test_an_entry_outlives_its_user() -> None:
    """The name stays."""
    user = User.objects.create_user("operator")
    record(user=user, action="created", target_type="host", target_id="", target_name="orders")
    user.delete()
    entry = AuditEntry.objects.get(target_type="host")
    assert (entry.user, entry.user_name) == (None, "operator")
