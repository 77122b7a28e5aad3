"""The page "Client certificate" of a host, as a browser gets it."""

from typing import Any

import pytest
from cryptography import x509
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from hosts.certificate_requests import MAX_PENDING, request_certificate
from hosts.models import Host
from localca.models import IssuedCertificate
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.localca.test_importing import ROOT, TheirCA, imported
from tests.support.certificates import SERVER
from tests.support.signing_requests import signed_by
from upstream_tls.certificate_requests import Wish
from upstream_tls.models import CertificateRequest, UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

ASK = {"ask": "1", "request-common_name": "orders", "request-key_type": "EC P-256"}
ISSUE = {"issue": "1", "issue-key_type": "EC P-384", "issue-validity_days": "30"}


def page_of(host: Host) -> str:
    return reverse("admin:hosts_host_client_certificate", args=[host.pk])


def editor_of(host: Host) -> str:
    return reverse("admin:hosts_host_change", args=[host.pk])


def url_of(waiting: CertificateRequest, name: str = "") -> str:
    return reverse(f"admin:hosts_certificate_request{name}", args=[waiting.host_id, waiting.pk])


def requested(host: Host) -> CertificateRequest:
    return request_certificate(host=host, wish=Wish(common_name="orders"), user=None)


def sign_in(client: Client, *codenames: str) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


def shown(response: Any) -> str:
    """A page, which has no key of a request."""
    assert response.status_code == 200
    text: str = response.content.decode()
    assert "PRIVATE KEY" not in text
    for waiting in CertificateRequest.objects.all():
        assert waiting.key.reveal().decode().splitlines()[1] not in text
    return text


def test_the_editor_leads_there_and_shows_what_is_waited_for(admin_client: Client) -> None:
    """By the request's subject, with its age."""
    host = make_host()
    waiting = requested(host)
    text = shown(admin_client.get(editor_of(host)))
    assert f'href="{page_of(host)}"' in text
    assert f'href="{url_of(waiting)}"' in text
    assert "CN=orders" in text
    assert page_of(host).replace(str(host.pk), "") not in shown(admin_client.get(reverse("admin:hosts_host_add")))


def test_from_the_form_to_the_installed_certificate(admin_client: Client) -> None:
    """Asked, copied or downloaded, pasted, installed."""
    host = make_host()
    assert 'value="orders.example.com"' in shown(admin_client.get(page_of(host)))
    names = {"request-subject_alt_names": "DNS:orders.internal\n\nIP:10.0.0.7", "request-country": "DE"}
    response = admin_client.post(page_of(host), {**ASK, **names})
    waiting = CertificateRequest.objects.get()
    assert (response.status_code, response["Location"]) == (302, url_of(waiting))
    assert waiting.subject_alt_names == ("DNS:orders.internal", "IP:10.0.0.7")
    text = shown(admin_client.get(url_of(waiting)))
    assert waiting.csr.strip() in text
    assert "CN=orders,C=DE" in text
    download = admin_client.get(url_of(waiting), {"file": "csr"})
    assert (download.content.decode(), download["Content-Type"]) == (waiting.csr, "application/pkcs10")
    assert download["Content-Disposition"] == 'attachment; filename="orders.csr"'
    assert "CN=orders,C=DE" in shown(admin_client.get(page_of(host)))
    certificate = signed_by(CA, waiting.csr)
    done = admin_client.post(url_of(waiting), {"certificate": CA.pem + certificate}, follow=True)
    assert done.redirect_chain == [(editor_of(host), 302)]
    text = shown(done)
    assert "Installed the certificate; mTLS is enabled." in text
    assert "The root CN=Orders CA was left out" in text
    configuration = UpstreamTLSConfiguration.objects.get()
    assert (configuration.client_certificate, configuration.enabled) == (certificate, True)


def test_a_signed_file_is_taken(admin_client: Client) -> None:
    """Instead of the text, and not beside it."""
    waiting = requested(make_host())
    certificate = signed_by(CA, waiting.csr)

    def send(text: str) -> Any:
        upload = SimpleUploadedFile("orders.crt", certificate.encode())
        return admin_client.post(url_of(waiting), {"certificate": text, "certificate_file": upload})

    assert "Either the text or a file." in shown(send(certificate))
    assert send("").status_code == 302
    assert UpstreamTLSConfiguration.objects.get().client_certificate == certificate


@pytest.mark.parametrize(
    ("certificate", "message"),
    [
        ("", "Paste the certificate or choose its file."),
        (LEAF.chain_pem, "is for another key than that of this request"),
        (LEAF.chain_pem + LEAF.key_pem, "This holds a private key"),
    ],
)
def test_a_bad_certificate_is_refused_at_its_field(admin_client: Client, certificate: str, message: str) -> None:
    """The request stays, and a key that was pasted is not shown again."""
    waiting = requested(make_host(upstream_tls=mtls()))
    assert message in shown(admin_client.post(url_of(waiting), {"certificate": certificate}))
    assert CertificateRequest.objects.count() == 1
    assert UpstreamTLSConfiguration.objects.get().client_certificate == LEAF.chain_pem


def test_a_certificate_for_servers_is_refused_with_what_to_do(admin_client: Client) -> None:
    """What CAs do wrong most."""
    waiting = requested(make_host())
    text = shown(admin_client.post(url_of(waiting), {"certificate": signed_by(CA, waiting.csr, usages=SERVER)}))
    assert "lacks clientAuth" in text


def test_a_bad_wish_is_refused_at_its_fields(admin_client: Client) -> None:
    """And what was typed stays."""
    host = make_host()
    bad = {"request-subject_alt_names": "orders", "request-country": "D1"}
    text = shown(admin_client.post(page_of(host), {**ASK, **bad}))
    assert "is none of DNS:name, IP:address and URI:uri" in text
    assert "A country is two letters" in text
    assert 'value="D1"' in text
    assert CertificateRequest.objects.count() == 0


def test_a_host_that_waits_for_enough_has_no_form(admin_client: Client) -> None:
    """And a form that was open says why."""
    host = make_host()
    for _ in range(MAX_PENDING):
        requested(host)
    assert "Make key and request" not in shown(admin_client.get(page_of(host)))
    assert "install or delete one first" in shown(admin_client.post(page_of(host), ASK))
    assert CertificateRequest.objects.count() == MAX_PENDING


def test_deleting_asks_first(admin_client: Client) -> None:
    """A GET deletes nothing."""
    waiting = requested(make_host())
    assert url_of(waiting, "_delete") in shown(admin_client.get(url_of(waiting)))
    assert "This cannot be undone" in shown(admin_client.get(url_of(waiting, "_delete")))
    assert CertificateRequest.objects.count() == 1
    assert admin_client.post(url_of(waiting, "_delete"))["Location"] == page_of(waiting.host)
    assert CertificateRequest.objects.count() == 0
    assert admin_client.get(url_of(waiting)).status_code == 404


def test_issue_and_install_with_choices(admin_client: Client) -> None:
    """Type of key and validity; errors stand at the fields."""
    host = make_host()
    text = shown(admin_client.post(page_of(host), {**ISSUE, "issue-validity_days": "826"}))
    assert "less than or equal to 825" in text
    response = admin_client.post(page_of(host), ISSUE)
    assert (response.status_code, response["Location"]) == (302, editor_of(host))
    record = IssuedCertificate.objects.get()
    assert (record.facts.key_type, (record.not_after - record.created_at).days in (29, 30)) == ("EC P-384", True)
    assert UpstreamTLSConfiguration.objects.get().enabled


def test_who_may_do_what(client: Client) -> None:
    """A viewer sees, an operator asks and installs; issuing takes its own permission."""
    host = make_host()
    waiting = requested(host)
    sign_in(client, "view_host")
    assert "Make key and request" not in shown(client.get(page_of(host)))
    assert "Install the certificate" not in shown(client.get(url_of(waiting)))
    assert client.get(url_of(waiting, "_delete")).status_code == 403
    for url, body in (
        (page_of(host), ASK),
        (page_of(host), ISSUE),
        (url_of(waiting), {}),
        (url_of(waiting, "_delete"), {}),
    ):
        assert client.post(url, body).status_code == 403
    client.logout()
    User.objects.all().delete()
    sign_in(client, "view_host", "change_host")
    text = shown(client.get(page_of(host)))
    assert "Make key and request" in text
    assert "Issue and install" not in text
    assert client.post(page_of(host), ISSUE).status_code == 403
    assert client.post(page_of(host), ASK).status_code == 302


def test_a_request_is_below_its_own_host(admin_client: Client) -> None:
    """Below another one it is not there; nor is one of a host that is not there."""
    waiting, other = requested(make_host()), make_host("other")
    url = reverse("admin:hosts_certificate_request", args=[other.pk, waiting.pk])
    assert admin_client.get(url).status_code == admin_client.post(url).status_code == 404
    assert admin_client.get(page_of(Host(name="nowhere"))).status_code == 404


def test_changes_need_a_csrf_token() -> None:
    """Whoever is signed in."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    waiting = requested(make_host())
    for url in (page_of(waiting.host), url_of(waiting), url_of(waiting, "_delete")):
        assert client.post(url, ASK).status_code == 403


def test_a_ca_that_does_not_permit_the_hosts_name(admin_client: Client) -> None:
    """Nobody entered it, so it is told above the form; nothing is issued and the host stays as it is."""
    host = make_host(domains=["orders.example.com"])
    constrained = TheirCA("Constrained", parent=ROOT, permitted=[x509.DNSName("example.org")])
    imported(constrained, ROOT)
    text = shown(admin_client.post(page_of(host), ISSUE))
    assert "do not permit DNS:orders.example.com, only DNS:example.org" in text
    assert not IssuedCertificate.objects.exists()
    assert not UpstreamTLSConfiguration.objects.get(host=host).enabled
