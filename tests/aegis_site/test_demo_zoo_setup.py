"""demo_zoo_setup: a host for each member of the zoo, once."""

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from aegis_site.demo_zoo_setup import set_up_zoo
from hosts.models import Host
from upstream_tls.services import spec_of
from upstream_tls.zoo.members import members

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _data_directory(settings: Settings, tmp_path: Path) -> None:
    settings.AEGIS_DATA_DIR = tmp_path


def test_every_member_has_a_host_with_its_settings() -> None:
    """Domain, target and TLS settings are the member's."""
    plan = set_up_zoo()
    pki = plan.pki
    for member in members():
        host = Host.objects.get(domains__name=f"zoo-{member.name}.localhost")
        upstream = host.upstreams.get()
        assert (upstream.scheme, upstream.address, upstream.port) == ("https", member.address, plan.ports[member.name])
        assert spec_of(host.upstream_tls) == member.spec(pki)


def test_second_start_changes_nothing() -> None:
    """The same plan, the same rows; what a person has changed is put right."""
    plan = set_up_zoo()
    before = {host.pk: host.updated_at for host in Host.objects.all()}
    assert set_up_zoo() == plan
    assert {host.pk: host.updated_at for host in Host.objects.all()} == before
    host = Host.objects.get(name="zoo-good")
    host.upstream_tls.server_name = "changed.internal"
    host.upstream_tls.save()
    set_up_zoo()
    host = Host.objects.with_configuration().get(name="zoo-good")
    assert host.upstream_tls.server_name == "zoo.internal"
