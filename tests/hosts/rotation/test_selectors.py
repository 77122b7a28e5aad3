"""Questions about rotations."""

import datetime

import pytest
from django.utils import timezone

from hosts.models import Host
from hosts.rotation.models import Rotation
from hosts.rotation.selectors import (
    https_upstreams,
    open_rotation,
    pair_in_use,
    previous_pair,
    refused_in_traffic,
    rotations_of,
    why_unusable,
)
from hosts.services import update_host
from hosts.specs import HostSpec, UpstreamSpec
from localca.models import RevocationReason
from localca.revocation import revoke_certificate
from localca.services import issue_client_certificate
from tests.hosts.rotation.examples import NEW, next_step, plain_host, staged

pytestmark = pytest.mark.django_db


def test_why_nobody_could_accept_it() -> None:
    """Not yet, not any more, or revoked by the local CA."""
    leaf = NEW.certificate
    second = datetime.timedelta(seconds=1)
    found = {
        moment: why_unusable(NEW.chain_pem, now=moment)
        for moment in (leaf.not_valid_before_utc - second, timezone.now(), leaf.not_valid_after_utc)
    }
    assert [reason and reason[0] for reason in found.values()] == [
        "client_certificate_not_before",
        None,
        "client_certificate_not_after",
    ]
    bundle = issue_client_certificate(common_name="x")
    assert why_unusable(bundle.chain_pem, now=timezone.now()) is None
    revoke_certificate(certificate=bundle.record, reason=RevocationReason.UNSPECIFIED, user=None)
    assert (why_unusable(bundle.chain_pem, now=timezone.now()) or ("",))[0] == "client_certificate_revoked"


def test_rotations_of_a_host() -> None:
    """Newest first; the open one is that which stands in the way."""
    host = plain_host()
    first = staged(host)
    assert open_rotation(host.pk) == first
    Rotation.objects.update(promoted_at=timezone.now() - datetime.timedelta(hours=1))
    next_step(first)
    assert open_rotation(host.pk) is None
    assert list(rotations_of(host.pk)) == [first]
    assert not refused_in_traffic(first)


def test_which_upstreams_are_asked() -> None:
    """Enabled ones that speak TLS."""
    host = plain_host()
    upstreams = (
        UpstreamSpec(address="a.internal", port=443),
        UpstreamSpec(address="b.internal", port=443, enabled=False),
        UpstreamSpec(address="c.internal", port=80, scheme="http"),
    )
    host = update_host(host=host, spec=HostSpec(upstreams=upstreams), user=None)
    assert [found.address for found in https_upstreams(Host.objects.with_configuration().get())] == ["a.internal"]
    rotation = staged(host, is_manual=True)
    assert previous_pair(rotation) == pair_in_use(Host.objects.with_configuration().get().upstream_configuration)
