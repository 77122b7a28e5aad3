"""What the database says about rotations."""

import datetime
from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from hosts.rotation.models import OPEN, OVER, IssuedCandidate, Rotation, RotationState
from hosts.rotation.services import issue, stage
from localca.services import issue_client_certificate
from tests.hosts.rotation.examples import plain_host, staged
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db


def test_an_upgrade_remembers_whose_keys_no_person_had() -> None:
    """Of the rotations that are there: what was issued for them, and not what somebody uploaded."""
    bundle = issue_client_certificate(common_name="theirs")
    changes = UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode())
    stage(host=plain_host(), pair=changes, user=None)
    own = issue(host=plain_host("other"), user=None)
    before = IssuedCandidate.objects.get()
    assert before.certificate.fingerprint_sha256 == own.candidate_fingerprint_sha256
    assert str(before) == f"candidate {before.pk}"
    IssuedCandidate.objects.all().delete()
    import_module("hosts.migrations.0011_rotation_remembers").remember_candidates(apps, None)
    assert IssuedCandidate.objects.get() == before


MINUTE = datetime.timedelta(minutes=1)


@pytest.mark.parametrize(
    "values",
    [{"state": "lost"}, {"state": "done"}, {"state": "done", "due_at": None, "ended_at": timezone.now()}],
)
def test_what_cannot_be(values: dict[str, object]) -> None:
    """An unknown state, an end without its time, and keys after the end."""
    staged(plain_host(), is_manual=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        Rotation.objects.update(**values)


def test_states() -> None:
    """None is open and over; draining is neither."""
    assert not set(OPEN) & set(OVER)
    assert {*OPEN, *OVER, RotationState.DRAINING} == set(RotationState)
    rotation = staged(plain_host(), is_manual=True)
    assert (rotation.is_open, rotation.is_over, rotation.waits_for_person) == (True, False, True)
    assert list(Rotation.objects.waiting_for_person()) == [rotation]
    assert str(rotation).startswith("rotation of 20")
    assert "Sealed" not in repr(Rotation.objects.without_keys().get().__dict__)


def test_what_is_due() -> None:
    """What is past, and what was written before the clock was set back; not what waits for long on purpose."""
    rotation = staged(plain_host())
    now = timezone.now()

    def is_due(**values: object) -> bool:
        Rotation.objects.update(**values)
        return Rotation.objects.due(now, longest_step=MINUTE).filter(pk=rotation.pk).exists()

    assert not is_due(due_at=None)
    assert is_due(due_at=now)
    assert not is_due(due_at=now + MINUTE)
    assert is_due(due_at=now + 2 * MINUTE)
    assert not is_due(state="refused", due_at=now + 2 * MINUTE)
    assert not Rotation.objects.waiting_for_person().exists()
