"""Checked before, written at once, and nobody's change is overwritten."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.audit.models import AuditEntry
from hosts.exchange.importing import ImportOptions, OnMissing, finish, import_hosts
from hosts.exchange.writing import HostsChanged
from hosts.models import Host
from hosts.services import delete_host, update_host
from hosts.specs import HostSpec
from tests.hosts.examples import make_host
from tests.hosts.exchange.examples import entry, exported, imported, make_secretive_host

pytestmark = pytest.mark.django_db


def change() -> None:
    update_host(host=Host.objects.get(name="orders"), spec=HostSpec(websockets=False), user=None)


def delete() -> None:
    delete_host(host=Host.objects.get(name="orders"), user=None)


def take_name() -> None:
    make_host("new", domains=("else.example",))


def take_domain() -> None:
    make_host("else", domains=("new.example.com",))


@pytest.mark.parametrize("meanwhile", [change, delete, take_name, take_domain])
@pytest.mark.parametrize("is_dry_run", [True, False])
def test_a_change_at_the_same_moment_wins(meanwhile: Callable[[], None], is_dry_run: bool) -> None:
    """Nothing is imported, and whoever asked is told to try again."""
    make_host("orders")
    document = exported()["hosts"][0] | {"enabled": False}
    options = ImportOptions(is_dry_run=is_dry_run)
    running = import_hosts([document, entry("new")], sealer=None, options=options, user=None)
    assert next(running) == 1
    meanwhile()
    before, audited = exported(), AuditEntry.objects.count()
    with pytest.raises(HostsChanged, match="try again") as caught:
        finish(running)
    assert caught.value.code == "hosts_changed"
    assert (exported(), AuditEntry.objects.count()) == (before, audited)


def test_a_host_that_appears_is_not_deleted_unseen() -> None:
    """The number of hosts to delete was another one."""
    make_host("gone")
    options = ImportOptions(on_missing=OnMissing.DELETE, delete_count=1)
    running = import_hosts([entry("new")], sealer=None, options=options, user=None)
    next(running)
    make_host("orders")
    with pytest.raises(HostsChanged):
        finish(running)
    assert set(Host.objects.values_list("name", flat=True)) == {"gone", "orders"}


def test_somebody_else_s_host_is_nobody_s_business() -> None:
    """Hosts that the document does not name may change meanwhile."""
    make_host("orders")
    running = import_hosts([entry("new")], sealer=None, options=ImportOptions(), user=None)
    next(running)
    change()
    finish(running)
    assert Host.objects.count() == 2


def test_the_transaction_is_short() -> None:
    """No write before the last entry was checked, and then few statements, however many hosts."""

    def statements(count: int) -> int:
        entries = [entry(f"h{count}-{number}") for number in range(count)]
        running = import_hosts(entries, sealer=None, options=ImportOptions(), user=None)
        with CaptureQueriesContext(connection) as captured:
            for _ in range(count):
                next(running)
        assert [found["sql"] for found in captured if not found["sql"].startswith("SELECT")] == []
        with CaptureQueriesContext(connection) as captured:
            finish(running)
        return len(captured)

    assert statements(20) == statements(5)


def test_secrets_that_are_kept_are_written_as_they_were() -> None:
    """Also by the statement that writes many rows."""
    host = make_secretive_host()
    sealed = host.upstream_tls.client_key.blob
    imported([exported()["hosts"][0] | {"enabled": False}])
    after = Host.objects.get()
    assert (after.enabled, after.upstream_tls.client_key.blob, after.created_at) == (False, sealed, host.created_at)
    assert after.updated_at > host.updated_at
