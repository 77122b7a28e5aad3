"""From one state to the next."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from hosts.rotation.models import Rotation, RotationState
from hosts.rotation.transitions import drain, enter, locked, page_of, promote, roll_back
from hosts.services import update_host
from hosts.specs import HostSpec
from hosts.traffic_models import TrafficConfiguration
from tests.hosts.rotation.examples import NEW_CA, again, in_use, pair, plain_host, staged
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

DAY = datetime.timedelta(days=1)


def test_only_who_saw_the_present_state_goes_on() -> None:
    """Somebody else took the next step, or gave the step to another process: nothing is returned."""
    rotation = staged(plain_host(), is_manual=True)
    assert locked(rotation) == rotation
    Rotation.objects.update(due_at=timezone.now())
    assert locked(rotation) is None
    rotation = again(rotation)
    Rotation.objects.update(state=RotationState.REFUSED)
    assert locked(rotation) is None


def test_the_same_step_again_is_counted() -> None:
    """In the rotation once, with how often; in the audit log once; never longer than its column."""
    rotation = staged(plain_host(), is_manual=True)
    for _ in range(3):
        enter(rotation, RotationState.REFUSED, user=None, code="timeout", message="x" * 5000)
    assert [(step["state"], step["times"]) for step in again(rotation).steps] == [
        ("staged", 1),
        ("probing", 1),
        ("ready", 1),
        ("refused", 3),
    ]
    assert len(again(rotation).message) == 1000
    assert AuditEntry.objects.filter(action="rotation_refused").count() == 1


def test_a_first_certificate_is_rolled_back_to_none() -> None:
    """mTLS is off again, and neither certificate nor key is left."""
    host = plain_host()
    changes = UpstreamTLSChanges(enabled=False, client_certificate="", client_key="")
    rotation = staged(update_host(host=host, spec=HostSpec(upstream_tls=changes), user=None))
    assert in_use(host) == "CN=new identity"
    roll_back(rotation, code="client_certificate_rejected", message="No.")
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    assert (configuration.enabled, configuration.client_certificate, configuration.client_key) == (False, "", None)
    assert again(rotation).state == RotationState.ROLLED_BACK


def test_a_candidate_that_ended_meanwhile_is_not_promoted() -> None:
    """It may have waited for a person for long."""
    host = plain_host()
    now = timezone.now()
    leaf = NEW_CA.client(
        "short", not_before=now - datetime.timedelta(days=1), not_after=now + datetime.timedelta(days=1)
    )
    rotation = staged(host, leaf, is_manual=True)
    late = NEW_CA.client(
        "over", not_before=now - datetime.timedelta(days=2), not_after=now - datetime.timedelta(days=1)
    )
    rotation.candidate_certificate = late.chain_pem
    promote(rotation, user=None)
    assert (rotation.state, rotation.code) == (RotationState.FAILED, "client_certificate_not_after")
    assert in_use(host) == "CN=old identity"


def test_a_roll_back_never_overwrites() -> None:
    """What somebody else put in use stays."""
    host = plain_host()
    rotation = staged(host)
    update_host(host=host, spec=HostSpec(upstream_tls=pair(NEW_CA.client("theirs"))), user=None)
    roll_back(rotation, code="client_certificate_rejected", message="No.")
    assert (rotation.state, rotation.code, in_use(host)) == (RotationState.CANCELLED, "superseded", "CN=theirs")


def test_a_key_that_does_not_fit_any_more_changes_nothing() -> None:
    """Whatever makes a promotion impossible ends it with the reason."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    rotation.candidate_certificate = NEW_CA.client("another").chain_pem
    promote(rotation, user=None)
    assert (rotation.state, rotation.code, in_use(host)) == (RotationState.FAILED, "not_applicable", "CN=old identity")
    assert rotation.message


def test_draining_lasts_as_long_as_the_host_says() -> None:
    """From the promotion on."""
    host = plain_host()
    TrafficConfiguration.objects.update_or_create(host=host, defaults={"tunnel_drain_s": 900})
    rotation = Rotation.objects.select_related("host").get(pk=staged(host).pk)
    drain(rotation)
    assert rotation.due_at is not None
    assert rotation.promoted_at is not None
    assert rotation.due_at - rotation.promoted_at == datetime.timedelta(seconds=900)
    assert page_of(rotation) == f"/admin/hosts/host/{host.pk}/rotations/{rotation.pk}/"
