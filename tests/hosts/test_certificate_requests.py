"""Certificates of another CA: the key stays here, and nothing is lost on an error."""

import datetime
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.secrets import reseal_secrets, unreadable_secrets
from hosts.certificate_requests import (
    MAX_PENDING,
    TooManyPending,
    default_common_name,
    delete_certificate_request,
    forget_old_requests,
    install_signed_certificate,
    request_certificate,
    rotate_to_signed_certificate,
)
from hosts.enforcement import Verdict, prove_enforcement
from hosts.models import CompiledHost, Host
from hosts.rotation.models import Rotation, RotationState
from hosts.rotation.services import RotationConflict
from hosts.rotation.transitions import drain, enter, promote, roll_back
from hosts.specs import UpstreamSpec
from localca.models import IssuedCertificate
from tests.hosts.examples import LEAF, make_host, mtls
from tests.support.certificates import Authority, expired
from tests.support.nginx import Nginx
from tests.support.signing_requests import signed_by
from upstream_tls.certificate_requests import Wish
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import REQUEST_KEPT_FOR, CertificateRequest, UpstreamTLSConfiguration
from upstream_tls.tls.credentials import check_pair, key_spki_sha256, parse_chain, parse_key

CA = Authority("Other CA")
WISH = Wish(common_name="orders")


def requested(host: Host, **wish: Any) -> CertificateRequest:
    return request_certificate(host=host, wish=Wish(**{"common_name": "orders", **wish}), user=None)


@pytest.mark.django_db
def test_the_key_is_sealed_and_the_request_is_for_it() -> None:
    """Who asked, and when, stands beside it."""
    user = User.objects.create_user("operator")
    made = request_certificate(host=make_host(), wish=WISH, user=user)
    stored = CertificateRequest.objects.get(pk=made.pk)
    key = parse_key(stored.key.reveal())
    assert stored.key_spki_sha256 == key_spki_sha256(key)
    assert stored.signing_request.public_key == key.public_key()
    assert (stored.subject, stored.created_by) == ("CN=orders", "operator")
    assert stored.expires_at - stored.created_at == REQUEST_KEPT_FOR


@pytest.mark.django_db
def test_the_common_name_is_as_in_other_certificates_of_the_host() -> None:
    """Its first domain."""
    assert default_common_name(make_host()) == "orders.example.com"


@pytest.mark.django_db
def test_a_host_waits_for_a_few_at_most() -> None:
    """One more is refused before a key is made; another host has its own."""
    host = make_host()
    for _ in range(MAX_PENDING):
        requested(host)
    with pytest.raises(TooManyPending) as caught:
        requested(host)
    assert caught.value.code == "too_many_pending"
    requested(make_host("other"))
    delete_certificate_request(request=host.certificate_requests.first(), user=None)
    requested(host)


@pytest.mark.django_db
def test_the_certificate_is_installed_with_its_key(django_capture_on_commit_callbacks: Any) -> None:
    """mTLS is enabled, the host published, the request gone; other settings of the host stay."""
    host = make_host(upstream_tls=UpstreamTLSChanges(server_name="orders.internal"))
    made, other = requested(host), requested(host)
    with django_capture_on_commit_callbacks(execute=True):
        notices = install_signed_certificate(request=made, chain_pem=CA.pem + signed_by(CA, made.csr), user=None)
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    assert (configuration.enabled, configuration.server_name) == (True, "orders.internal")
    check_pair(parse_chain(configuration.client_certificate.encode()), parse_key(configuration.client_key.reveal()))
    assert configuration.client_key_spki_sha256 == made.key_spki_sha256
    assert [notice.partition(":")[0] for notice in notices] == [
        "The root CN=Other CA was left out",
    ]
    assert list(host.certificate_requests.all()) == [other]
    assert CompiledHost.objects.get().source_updated_at == Host.objects.get().updated_at


@pytest.mark.django_db
def test_what_is_wrong_with_a_certificate_loses_nothing() -> None:
    """The host presents what it did, and the request waits for a better answer."""
    host = make_host(upstream_tls=mtls())
    made, other = requested(host), requested(host)
    with pytest.raises(ValidationError) as caught:
        install_signed_certificate(request=made, chain_pem=signed_by(CA, other.csr), user=None)
    assert caught.value.error_dict["certificate"][0].code == "key_mismatch"
    assert UpstreamTLSConfiguration.objects.get().client_certificate == LEAF.chain_pem
    assert host.certificate_requests.count() == 2
    install_signed_certificate(request=made, chain_pem=signed_by(CA, made.csr), user=None)


@pytest.mark.django_db
def test_the_certificate_is_rotated_to_in_steps() -> None:
    """The rotation tries it while the request stays; that is forgotten when the certificate stays in use."""
    host = make_host(upstream_tls=mtls())
    made = requested(host)
    rotation = rotate_to_signed_certificate(request=made, chain_pem=signed_by(CA, made.csr), user=None)
    stored = Rotation.objects.get()
    assert (stored.pk, stored.state, stored.source) == (rotation.pk, "staged", "signed")
    check_pair(parse_chain(stored.candidate_certificate.encode()), parse_key(stored.candidate_key.reveal()))
    assert host.certificate_requests.get() == made
    assert UpstreamTLSConfiguration.objects.get().client_certificate == LEAF.chain_pem
    drain(rotation)
    assert not host.certificate_requests.exists()
    assert AuditEntry.objects.filter(target_id=str(made.pk), action="deleted").exists()
    assert Rotation.objects.get().certificate_request is None


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["cancelled", "failed", "rolled_back"])
def test_a_rotation_that_ends_otherwise_loses_no_key(state: str) -> None:
    """While it is open nobody answers, deletes or forgets the request; then its certificate is tried again."""
    host = make_host(upstream_tls=mtls())
    made = requested(host)
    chain_pem = signed_by(CA, made.csr)
    rotation = rotate_to_signed_certificate(request=made, chain_pem=chain_pem, user=None)
    for act in (
        lambda: install_signed_certificate(request=made, chain_pem=chain_pem, user=None),
        lambda: rotate_to_signed_certificate(request=made, chain_pem=chain_pem, user=None),
        lambda: delete_certificate_request(request=made, user=None),
    ):
        with pytest.raises(RotationConflict, match=str(rotation.pk)) as caught:
            act()
        assert caught.value.code == "request_in_rotation"
    CertificateRequest.objects.update(created_at=timezone.now() - 2 * REQUEST_KEPT_FOR)
    forget_old_requests(now=timezone.now())
    assert host.certificate_requests.get() == made
    enter(rotation, RotationState(state), user=None)
    install_signed_certificate(request=made, chain_pem=chain_pem, user=None)
    assert not host.certificate_requests.exists()


@pytest.mark.django_db
def test_a_certificate_that_could_not_be_rolled_back_is_in_use() -> None:
    """The rotation failed, but the key is the host's now, and the request is forgotten."""
    host = make_host(upstream_tls=mtls())
    made = requested(host)
    rotation = rotate_to_signed_certificate(request=made, chain_pem=signed_by(CA, made.csr), user=None)
    promote(rotation, user=None)
    rotation.previous_certificate = CA.client("over", **expired()).chain_pem
    roll_back(rotation, code="client_certificate_rejected", message="No.")
    assert (rotation.state, rotation.code) == ("failed", "previous_unusable")
    assert not host.certificate_requests.exists()


@pytest.mark.django_db
def test_a_request_outlives_a_rotation_that_cannot_begin() -> None:
    """Another one is open, or the certificate is for another key: nothing is lost."""
    host = make_host(upstream_tls=mtls())
    first, second = requested(host), requested(host)
    with pytest.raises(ValidationError) as caught:
        rotate_to_signed_certificate(request=first, chain_pem=signed_by(CA, second.csr), user=None)
    assert set(caught.value.error_dict) == {"certificate"}
    rotate_to_signed_certificate(request=first, chain_pem=signed_by(CA, first.csr), user=None)
    with pytest.raises(RotationConflict):
        rotate_to_signed_certificate(request=second, chain_pem=signed_by(CA, second.csr), user=None)
    assert list(host.certificate_requests.all()) == [first, second]


@pytest.mark.django_db
def test_what_is_gone_cannot_be_installed() -> None:
    """Deleted meanwhile, or answered twice."""
    made = requested(make_host())
    chain_pem = signed_by(CA, made.csr)
    install_signed_certificate(request=made, chain_pem=chain_pem, user=None)
    with pytest.raises(CertificateRequest.DoesNotExist):
        install_signed_certificate(request=made, chain_pem=chain_pem, user=None)


@pytest.mark.django_db
def test_the_audit_log_has_every_step_and_no_key() -> None:
    """Of the request that it was made and went, of the host what it presents now."""
    user = User.objects.create_user("operator")
    host = make_host()
    made, other = (request_certificate(host=host, wish=WISH, user=user) for _ in range(2))
    key_lines = made.key.reveal().decode().splitlines()[1:-1]
    delete_certificate_request(request=other, user=user)
    install_signed_certificate(request=made, chain_pem=signed_by(CA, made.csr), user=user)
    entries = AuditEntry.objects.filter(user=user).order_by("pk")
    assert [(entry.target_type, entry.action) for entry in entries] == [
        ("certificate_request", "created"),
        ("certificate_request", "created"),
        ("certificate_request", "deleted"),
        ("certificate_request", "deleted"),
        ("host", "installed"),
    ]
    assert entries[0].target_name == "orders: CN=orders"
    assert {change["field"] for change in entries[0].changes} == {
        "host",
        "subject",
        "subject_alt_names",
        "key_type",
        "key_spki_sha256",
    }
    assert not [line for line in key_lines[:2] if line in json.dumps([entry.changes for entry in entries])]


@pytest.mark.django_db
def test_requests_that_nobody_answers_are_forgotten() -> None:
    """After their time, with their keys; Aegis itself says so in the log."""
    host = make_host()
    old, young = requested(host), requested(host)
    CertificateRequest.objects.filter(pk=old.pk).update(created_at=timezone.now() - REQUEST_KEPT_FOR)
    forget_old_requests(now=timezone.now() + datetime.timedelta(seconds=1))
    assert list(host.certificate_requests.all()) == [young]
    assert AuditEntry.objects.filter(target_id=str(old.pk), action="deleted").exists()


@pytest.mark.django_db
def test_a_waiting_key_takes_part_in_a_change_of_the_master_key(settings: Any) -> None:
    """It is found by itself, sealed anew, and installed under the new key; lost, it is named without the request."""
    settings.AEGIS_SSL_KEY = "0f" * 32
    made = requested(make_host())
    settings.AEGIS_SSL_KEY, settings.AEGIS_SSL_KEY_PREVIOUS = "2e" * 32, ("0f" * 32,)
    assert reseal_secrets(on_progress=lambda _: None) == 1
    settings.AEGIS_SSL_KEY, settings.AEGIS_SSL_KEY_PREVIOUS = "3d" * 32, ()
    (lost,) = unreadable_secrets()
    assert (lost.column, lost.row) == ("key", f"certificate request {made.pk} of host {made.host_id}")
    with pytest.raises(SecretUnreadable):
        install_signed_certificate(request=made, chain_pem=signed_by(CA, made.csr), user=None)
    assert CertificateRequest.objects.count() == 1
    settings.AEGIS_SSL_KEY = "2e" * 32
    install_signed_certificate(request=made, chain_pem=signed_by(CA, made.csr), user=None)


@pytest.mark.django_db
def test_requests_go_with_their_host() -> None:
    """A key without its host is of no use."""
    host = make_host()
    requested(host)
    host.delete()
    assert CertificateRequest.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_an_upstream_that_trusts_the_other_ca_admits_the_host(tmp_path: Path) -> None:
    """OpenSSL signs the request as a CA would; a real nginx that demands certificates of that CA lets the host in."""
    server_ca, client_ca = Authority("Upstream CA"), tmp_path / "ca"
    client_ca.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=client_ca, check=True, capture_output=True, timeout=30)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Company CA")
    with Nginx(
        tmp_path, server=server_ca.server("backend.internal"), client_ca_pem=(client_ca / "ca.crt").read_text()
    ) as nginx:
        host = make_host(
            upstreams=(UpstreamSpec(address="127.0.0.1", port=nginx.port),),
            upstream_tls=UpstreamTLSChanges(ca_certificate=server_ca.pem, server_name="backend.internal"),
        )
        made = requested(host, common_name="orders.example.com", organization="Orders Ltd")
        (client_ca / "orders.csr").write_text(made.csr)
        openssl("req", "-in", "orders.csr", "-verify", "-noout")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-copy_extensions", "copy")
        openssl("x509", "-req", "-in", "orders.csr", *signing, "-out", "orders.crt")
        install_signed_certificate(request=made, chain_pem=(client_ca / "orders.crt").read_text(), user=None)
        host = Host.objects.with_configuration().get()
        proof = prove_enforcement(host=host, upstream=host.upstreams.all()[0], user=None, may_issue=True)
    assert proof.verdict is Verdict.ENFORCED, proof
    assert host.upstream_configuration.client_certificate_facts[0].subject == "CN=orders.example.com,O=Orders Ltd"
    assert IssuedCertificate.objects.count() == 0
