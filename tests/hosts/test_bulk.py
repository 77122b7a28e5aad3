"""Many rows in few statements."""

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.fields import Sealed
from hosts.bulk import save_rows, seal
from hosts.models import Host
from tests.hosts.examples import LEAF, make_host, mtls

pytestmark = pytest.mark.django_db


def test_new_and_stored_rows() -> None:
    """Each gets its own values, whenever it was made; what was sealed opens."""
    old = make_host("old", upstream_tls=mtls())
    made_at = old.created_at
    old.name = "older"
    configuration = old.upstream_tls
    configuration.client_key = Sealed.of("another secret")
    seal(configuration)
    sealed = configuration.client_key.blob
    with CaptureQueriesContext(connection) as captured:
        save_rows([old, Host(name="new")])
        save_rows([configuration])
        save_rows([])
    assert len([found for found in captured if found["sql"].startswith("INSERT")]) == 3
    found = Host.objects.get(name="older")
    assert (found.pk, found.created_at) == (old.pk, made_at)
    assert found.upstream_tls.client_key.blob == sealed != LEAF.key_pem.encode()
    assert found.upstream_tls.client_key.reveal() == b"another secret"
    assert Host.objects.filter(name="new").exists()


def test_a_new_row_takes_the_place_of_none() -> None:
    """Not even with its key."""
    host = make_host()
    with pytest.raises(IntegrityError):
        save_rows([Host(id=host.pk, name="new")])
