"""The HTTPS section of the host editor, as a browser gets it."""

from typing import Any

import pytest
from django.test import Client

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import CompiledHost, DownstreamTLSConfiguration, Host
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import SITE, make_host, site
from tests.hosts.test_admin import ADD, editor, form_data, sign_in

pytestmark = pytest.mark.django_db

ISSUE_SERVER = {"hosts_host_save_and_issue_server": "1"}
CANARY = SITE.key_pem.splitlines()[1]


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    text = response.content.decode()
    assert CANARY not in text
    return text


def test_an_uploaded_pair_is_saved_shown_and_published(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    """Facts and warnings of the certificate, never the key."""
    values = {"https_certificate": SITE.chain_pem, "https_key": SITE.key_pem, "force_https": "on"}
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(ADD, form_data(**values))
    assert response.status_code == 302
    host = Host.objects.get()
    assert host.downstream_tls.key.reveal() == SITE.key_pem.encode()
    assert CompiledHost.objects.get().downstream_key.reveal() == SITE.key_pem.encode()
    text = page(admin_client, editor(host))
    assert "CN=orders.example.com" in text
    assert "The certificate does not name *.orders.example.com." in text
    assert host.downstream_tls.key_spki_sha256 in text


def test_a_refused_form_does_not_show_the_key(admin_client: Client) -> None:
    """An error elsewhere; the second try works with what the page carries."""
    values = {"https_certificate": SITE.chain_pem, "https_key": SITE.key_pem}
    response = admin_client.post(ADD, form_data(name="", **values))
    assert response.status_code == 200
    assert CANARY not in response.content.decode()
    form = response.context["adminform"].form
    again = {"https_certificate": SITE.chain_pem, "kept_https_key": form["kept_https_key"].value()}
    assert admin_client.post(ADD, form_data(**again)).status_code == 302
    assert DownstreamTLSConfiguration.objects.get().has_key


@pytest.mark.parametrize("is_new", [True, False])
def test_one_button_saves_issues_and_forces_https(admin_client: Client, *, is_new: bool) -> None:
    """The local CA names all domains; the editor stays open and says so."""
    host = None if is_new else make_host()
    url = editor(host) if host else ADD
    assert "Save and issue server certificate" in page(admin_client, url)
    response = admin_client.post(url, form_data(host, force_https="on", hsts_max_age_s="600", **ISSUE_SERVER))
    host = Host.objects.get()
    assert response.status_code == 302, response.context["adminform"].form.errors
    assert response["Location"] == editor(host)
    stored = DownstreamTLSConfiguration.objects.get()
    assert (stored.force_https, stored.hsts_max_age_s) == (True, 600)
    assert stored.certificate_facts[0].subject_alt_names == ("DNS:orders.example.com", "DNS:*.orders.example.com")
    stored.chain[0].verify_directly_issued_by(ensure_authority().certificate)
    assert "Issued the server certificate CN=orders.example.com and installed it." in page(admin_client, editor(host))
    entry = AuditEntry.objects.filter(target_type="host").first()
    assert entry is not None
    assert entry.action == ("created" if is_new else "issued")
    assert "downstream_tls" in str(entry.changes)


def test_issuing_needs_its_permission(client: Client) -> None:
    """Who may change hosts but not issue has no button, and its name in the POST does nothing."""
    host = make_host()
    sign_in(client, "change_host", "view_host")
    assert "Save and issue server certificate" not in page(client, editor(host))
    assert client.post(editor(host), form_data(host, **ISSUE_SERVER)).status_code == 302
    assert not IssuedCertificate.objects.exists()


def test_who_may_only_look_sees_the_certificate(client: Client) -> None:
    """Without a field."""
    host = make_host(downstream_tls=site())
    sign_in(client, "view_host")
    text = page(client, editor(host))
    assert "CN=orders.example.com" in text
    assert 'name="https_certificate"' not in text
