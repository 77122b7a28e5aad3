"""Exports with secrets."""

import json

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from hosts.exchange.exporting import export_sealed
from hosts.models import Host
from tests.hosts.examples import LEAF
from tests.hosts.exchange.examples import PASSPHRASE, TOKEN, make_secretive_host

pytestmark = pytest.mark.django_db


def test_who_took_which_keys_is_noted(admin_user: User) -> None:
    """Host by host, and no secret is in the note."""
    make_secretive_host("a")
    make_secretive_host("b", domains=("b.example.com",))
    document = export_sealed(list(Host.objects.with_configuration()), passphrase=PASSPHRASE, user=admin_user)
    assert [host["name"] for host in document["hosts"]] == ["a", "b"]
    noted = AuditEntry.objects.get(action="exported")
    assert (noted.user, noted.target_name) == (admin_user, "2 hosts with sealed secrets")
    assert [change["field"] for change in noted.changes] == ["a", "b"]
    text = json.dumps([document, noted.changes])
    assert not [secret for secret in (PASSPHRASE, TOKEN, LEAF.key_pem.splitlines()[2]) if secret in text]


def test_a_passphrase_that_is_too_short(admin_user: User) -> None:
    """Is an error at its field, and nothing is noted."""
    with pytest.raises(ValidationError) as error:
        export_sealed([], passphrase="x", user=admin_user)
    assert error.value.error_dict["passphrase"][0].code == "passphrase_too_short"
    assert not AuditEntry.objects.filter(action="exported").exists()
