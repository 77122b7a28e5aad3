"""Changes of many hosts at once."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.audit.models import AuditEntry
from hosts.bulk_changes import change_tags, set_enabled
from hosts.models import CompiledHost, Host
from hosts.publish import compile_hosts
from hosts.validators import MAX_TAGS
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def everybody() -> list[Any]:
    return list(Host.objects.values_list("pk", flat=True))


def tags() -> dict[str, list[str]]:
    return dict(Host.objects.values_list("name", "tags"))


def test_hosts_are_disabled_and_enabled(django_capture_on_commit_callbacks: Any) -> None:
    """Each with an entry in the log, unpublished at once; who is so already is left alone."""
    on, off = make_host("on"), make_host("off", enabled=False)
    compile_hosts([on.pk, off.pk])
    kim = User.objects.create_user("kim")
    AuditEntry.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        assert set_enabled(host_ids=everybody(), enabled=False, user=kim) == 1
    entry = AuditEntry.objects.get()
    assert (entry.target_name, entry.user_name, entry.action) == ("on", "kim", "changed")
    assert entry.changes == [{"field": "enabled", "before": True, "after": False}]
    assert CompiledHost.objects.get(pk=on.pk).is_tombstone
    on.refresh_from_db()
    assert on.updated_at > on.created_at
    assert set_enabled(host_ids=everybody(), enabled=True, user=None) == 2


def test_tags_are_added_and_removed() -> None:
    """Sorted, each once, in lower case; what does not change has no entry."""
    make_host("a", tags=("prod", "eu"))
    make_host("b")
    AuditEntry.objects.all().delete()
    assert change_tags(host_ids=everybody(), add=["EU"], user=None) == 1
    assert tags() == {"a": ["eu", "prod"], "b": ["eu"]}
    assert change_tags(host_ids=everybody(), remove=["eu", "nothing"], user=None) == 2
    assert tags() == {"a": ["prod"], "b": []}
    assert AuditEntry.objects.count() == 3


def test_too_many_tags_change_nothing() -> None:
    """And the host is named that would have them."""
    make_host("empty")
    make_host("full", tags=tuple(f"t{number}" for number in range(MAX_TAGS)))
    with pytest.raises(ValidationError, match="full: A host has at most 20 tags"):
        change_tags(host_ids=everybody(), add=["one-more"], user=None)
    with pytest.raises(ValidationError, match="is no tag"):
        change_tags(host_ids=everybody(), add=["a b"], user=None)
    assert tags()["empty"] == []


def test_queries_do_not_grow_with_the_hosts() -> None:
    """Neither to disable nor to tag."""

    def cost(count: int) -> int:
        Host.objects.all().delete()
        for number in range(count):
            make_host(f"host{number}")
        with CaptureQueriesContext(connection) as captured:
            set_enabled(host_ids=everybody(), enabled=False, user=None)
            change_tags(host_ids=everybody(), add=["prod"], user=None)
        return len(captured)

    assert cost(2) == cost(8)
