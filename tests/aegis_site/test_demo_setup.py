"""demo_setup: wires the demo host through the ordinary services, once."""

import datetime
import stat
from pathlib import Path

import pytest
import time_machine
from cryptography import x509
from pytest_django.fixtures import Settings

from aegis_site.demo import DEMO_SERVER_NAME, Demo
from aegis_site.demo_setup import set_up_demo
from aegis_site.environment import BindAddress
from aegis_site.listeners import listening_socket
from hosts.models import Host
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.support.ports import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _first_run_is_done(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AEGIS_DATA_DIR = tmp_path
    monkeypatch.delenv("AEGIS_DEMO_UPSTREAM", raising=False)
    ensure_authority()


def files(demo: Demo) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in demo.directory.iterdir()}


def demo_host() -> Host:
    return Host.objects.get(domains__name="demo.localhost")


def test_the_host_presents_a_certificate_of_the_local_ca_and_verifies_the_upstream() -> None:
    """Everything that a person would set in the host editor."""
    demo = set_up_demo()
    host = demo_host()
    upstream = host.upstreams.get()
    leaf = x509.load_pem_x509_certificate(host.upstream_tls.client_certificate.encode())
    assert (upstream.scheme, upstream.address, upstream.port) == ("https", "127.0.0.1", demo.address.port)
    assert host.upstream_tls.enabled
    assert not host.upstream_tls.skip_verify
    assert host.upstream_tls.server_name == DEMO_SERVER_NAME
    assert host.upstream_tls.ca_certificate.strip() == demo.ca_path.read_text().strip()
    assert leaf.issuer == ensure_authority().certificate.subject
    assert demo.client_ca_path.read_text() == ensure_authority().certificate_pem


def test_the_key_is_private_and_the_cas_key_is_not_kept() -> None:
    """Only the upstream's own key is on disk, for this user alone."""
    demo = set_up_demo()
    assert stat.S_IMODE(demo.key_path.stat().st_mode) == 0o600
    assert sorted(files(demo)) == ["ca.crt", "clients-ca.crt", "upstream.crt", "upstream.key"]
    certificate = x509.load_pem_x509_certificate(demo.certificate_path.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(demo.ca_path.read_bytes()))


def test_a_second_start_changes_nothing() -> None:
    """Same address, same files, same certificate, and the host was not even saved."""
    first = set_up_demo()
    before = (files(first), demo_host().updated_at, IssuedCertificate.objects.count())
    assert set_up_demo() == first
    assert (files(first), demo_host().updated_at, IssuedCertificate.objects.count()) == before


def test_an_address_that_is_taken_meanwhile_is_replaced() -> None:
    """Somebody else listens where the upstream was: it moves, and the host follows."""
    first = set_up_demo()
    with listening_socket(first.address):
        second = set_up_demo()
    assert second.address.port != first.address.port
    assert demo_host().upstreams.get().port == second.address.port


def test_a_configured_address_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """AEGIS_DEMO_UPSTREAM moves the upstream of an existing demo too."""
    set_up_demo()
    address = BindAddress("127.0.0.1", free_port())
    monkeypatch.setenv("AEGIS_DEMO_UPSTREAM", str(address))
    assert set_up_demo().address == address
    assert demo_host().upstreams.get().port == address.port


def test_certificates_are_renewed_before_they_expire() -> None:
    """A demo that was started a year ago still works."""
    first = set_up_demo()
    before = (files(first)["upstream.crt"], demo_host().upstream_tls.client_certificate)
    with time_machine.travel(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=380), tick=False):
        set_up_demo()
    after = (files(first)["upstream.crt"], demo_host().upstream_tls.client_certificate)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_what_a_person_changed_about_the_host_stays() -> None:
    """Only what the demo needs is put right."""
    set_up_demo()
    Host.objects.update(name="mine", preserve_host=True)
    set_up_demo()
    host = demo_host()
    assert (host.name, host.preserve_host) == ("mine", True)
