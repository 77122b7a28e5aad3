"""A host is complete and checked before anything is written."""

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries

from hosts.drafts import STORED, HostDraft, draft_host
from hosts.exchange.claims import PlannedClaims
from hosts.models import Host
from hosts.specs import HostSpec, UpstreamSpec
from tests.hosts.examples import make_host, mtls

pytestmark = pytest.mark.django_db

SPEC = HostSpec(name="new", domains=("b.example", "a.example"), upstreams=(UpstreamSpec(address="10.0.0.7", port=443),))


def stored() -> Host:
    return Host.objects.with_configuration().get()


def test_a_draft_is_not_saved(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """It reads nothing but who has its name and domains, and shows itself as it would be read."""
    with django_assert_num_queries(2):
        draft = draft_host(Host(), SPEC, claims=STORED, user=None)
    with django_assert_num_queries(0):
        host = draft.as_loaded()
        assert [domain.name for domain in host.domains.all()] == ["b.example", "a.example"]
        assert [upstream.address for upstream in host.upstreams.all()] == ["10.0.0.7"]
    assert not Host.objects.exists()


def test_what_is_stored_keeps_its_rows(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Domains by name, upstreams by target; without a query when nobody else is asked about."""
    host = make_host(domains=("a.example", "b.example"), upstream_tls=mtls())
    old = {domain.name: domain.pk for domain in host.domains.all()}
    current = stored()
    kept = [UpstreamSpec(address=upstream.address, port=upstream.port) for upstream in current.upstreams.all()]
    spec = HostSpec(domains=("b.example", "c.example"), upstreams=(UpstreamSpec(address="10.9.9.9", port=1), *kept))
    claims = PlannedClaims({current.pk: current}, [], kept=(), deleted=())
    with django_assert_num_queries(0):
        draft = draft_host(current, spec, claims=claims, user=None)
        rows = draft.domain_rows()
    assert [(row.name, row.pk, row.position) for row in rows] == [
        ("b.example", old["b.example"], 0),
        ("c.example", None, 1),
    ]
    assert [upstream._state.adding for upstream in draft.upstreams or ()] == [True, *[False] * len(kept)]
    assert draft.gone == []


def test_what_is_not_named_is_kept() -> None:
    """No list at all is not an empty one."""
    make_host()
    draft: HostDraft = draft_host(stored(), HostSpec(enabled=False), claims=STORED, user=None)
    assert (draft.domains, draft.upstreams, draft.domain_rows()) == (None, None, [])
    assert [domain.name for domain in draft.as_loaded().domains.all()] == ["orders.example.com"]


def test_a_name_that_is_taken_is_one_error_of_all() -> None:
    """Beside those of other fields; a name that could be none is not looked up."""
    make_host()
    with pytest.raises(ValidationError) as caught:
        draft_host(Host(), HostSpec(name="orders", load_balancing="x"), claims=STORED, user=None)
    assert set(caught.value.error_dict) == {"name", "load_balancing", "domains"}
    with pytest.raises(ValidationError) as caught:
        draft_host(Host(), HostSpec(name="a\0b", domains=("a.example",)), claims=STORED, user=None)
    assert set(caught.value.error_dict) == {"name"}
