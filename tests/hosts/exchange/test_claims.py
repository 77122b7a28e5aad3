"""Whose names and domains are while a document is checked."""

import pytest

from hosts.exchange.claims import PlannedClaims
from hosts.exchange.matching import match_entries
from hosts.models import Host
from tests.hosts.examples import make_host
from tests.hosts.exchange.examples import entry

pytestmark = pytest.mark.django_db


def test_what_is_given_up_is_free_and_what_was_claimed_is_not() -> None:
    """Changed and deleted hosts give up what they will not have; others keep theirs; each answer names the owner."""
    a, b, gone = (make_host(name, domains=(f"{name}.example",)) for name in ("a", "b", "gone"))
    hosts = Host.objects.with_configuration().in_bulk()
    matches = match_entries([entry("c", id=str(a.pk), domains=["c.example"]), entry("b")], hosts.values())
    claims = PlannedClaims(hosts, matches, kept={1}, deleted=[gone])
    new = Host(name="new")
    names = ["a.example", "b.example", "gone.example"]
    assert claims.owners(names, host_id=new.pk) == {"b.example": "b"}
    assert claims.owners(names, host_id=b.pk) == {}
    assert [name for name in ("a", "b", "gone") if claims.is_name_taken(name, host_id=new.pk)] == ["b"]
    assert not claims.is_name_taken("b", host_id=b.pk)
    claims.claim(new, ["a.example"])
    assert claims.owners(names, host_id=a.pk) == {"a.example": "new", "b.example": "b"}
    assert claims.is_name_taken("new", host_id=a.pk)
