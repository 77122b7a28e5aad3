"""Which steps there are for a host, and where it stands."""

import datetime
from typing import Any

import pytest
from django.utils import timezone

from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from hosts.wizard.steps import (
    BEING_SET_UP_FOR,
    Step,
    can_be_taken,
    first_open,
    following,
    is_being_set_up,
    is_current,
    marks,
    works,
)
from tests.hosts.examples import make_host, mtls

pytestmark = pytest.mark.django_db

HTTP = (UpstreamSpec(address="10.0.0.7", port=80, scheme="http"),)


def loaded(**changes: Any) -> Host:
    """A host that is off."""
    host = make_host(**{"enabled": False, **changes})
    return Host.objects.with_configuration().get(pk=host.pk)


def made(host: Host, **changes: Any) -> ConnectionTest:
    """A test of that host, after its last change; not stored."""
    values = {"is_of_saved_host": True, "success": True, "created_at": timezone.now(), **changes}
    return ConnectionTest(host=host, **values)


def shown(current: Step, host: Host | None) -> str:
    """The first letters of all marks."""
    return "".join(mark.mark[0:2] for mark in marks(current, host))


def test_before_there_is_a_host_there_is_one_step() -> None:
    """All others come after it."""
    assert [step for step in Step if can_be_taken(step, None)] == [Step.DOMAINS]
    assert shown(Step.DOMAINS, None) == "cu" + "cl" * 6
    assert not any(mark.is_link for mark in marks(Step.DOMAINS, None))


def test_the_upstream_opens_the_rest() -> None:
    """A host without one, or whose upstreams are all off, waits for it."""
    for upstreams in ((), (UpstreamSpec(address="10.0.0.7", port=1, enabled=False),)):
        host = loaded(name=f"host-{len(upstreams)}", domains=(f"{len(upstreams)}.test",), upstreams=upstreams)
        assert [step for step in Step if can_be_taken(step, host)] == [Step.DOMAINS, Step.UPSTREAMS]
        assert first_open(host, []) is Step.UPSTREAMS
        assert shown(Step.UPSTREAMS, host) == "docu" + "cl" * 5
    host = loaded()
    assert all(can_be_taken(step, host) for step in Step)


def test_a_host_without_a_certificate_leaves_its_upstream_alone() -> None:
    """Which is known when the certificate was chosen."""
    host = loaded()
    assert following(Step.CERTIFICATE, host) is Step.TEST
    assert shown(Step.CHECK, host) == "dodocuopopopop"
    assert shown(Step.TEST, host) == "dodododoskcuop"
    assert following(Step.CERTIFICATE, loaded(name="mtls", domains=("m.test",), upstream_tls=mtls())) is Step.SERVER


def test_plain_http_has_nothing_to_check() -> None:
    """From its upstream it goes straight to the end."""
    host = loaded(upstreams=HTTP)
    assert following(Step.UPSTREAMS, host) is Step.LIVE
    assert first_open(host, []) is Step.LIVE
    assert shown(Step.LIVE, host) == "dodoskskskskcu"


def test_a_live_host_has_its_last_step_left() -> None:
    """Nothing else can be opened, so nothing is changed by accident."""
    host = loaded(enabled=True)
    assert [step for step in Step if can_be_taken(step, host)] == [Step.LIVE]
    assert not any(mark.is_link for mark in marks(Step.LIVE, host))
    assert first_open(host, []) is Step.LIVE


@pytest.mark.parametrize(
    ("changes", "is_enough"),
    [
        ({}, True),
        ({"success": False}, False),
        ({"success": None}, False),
        ({"is_of_saved_host": False}, False),
        ({"created_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}, False),
    ],
)
def test_what_counts_as_proved(changes: dict[str, Any], is_enough: bool) -> None:
    """A good test of what is saved, after its last change; of several upstreams each."""
    host = loaded(upstream_tls=mtls())
    assert works(host, [made(host), made(host, **changes)]) is is_enough
    assert first_open(host, [made(host, **changes)]) is (Step.LIVE if is_enough else Step.TEST)
    assert not is_current(host, [])
    assert first_open(host, []) is Step.CHECK


def test_a_new_host_that_is_off_is_being_set_up() -> None:
    """For a day; one that somebody gave up is just off."""
    host = loaded()
    assert is_being_set_up(host, now=host.created_at)
    assert not is_being_set_up(host, now=host.created_at + BEING_SET_UP_FOR)
    host.enabled = True
    assert not is_being_set_up(host, now=host.created_at)
