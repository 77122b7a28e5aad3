"""The page "Upstream setup", as a browser gets it."""

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from hosts.models import ConnectionTest, Host
from hosts.services import install_issued_certificate
from hosts.specs import UpstreamSpec
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.support.certificates import Authority
from tests.support.nginx import Nginx
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db

SERVER_CA = Authority("Upstream CA")
SERVER = SERVER_CA.server("backend.internal")


def page_url(host: Host) -> str:
    return reverse("admin:hosts_host_upstream_setup", args=[host.pk])


def sign_in(client: Client, *codenames: str) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    text = response.content.decode()
    assert "PRIVATE KEY" not in text
    assert LEAF.key_pem.splitlines()[1] not in text
    return text


def host_before(nginx: Nginx, **changes: object) -> Host:
    tls = mtls(ca_certificate=SERVER_CA.pem, server_name="backend.internal", **changes)
    return make_host(upstreams=(UpstreamSpec(address="127.0.0.1", port=nginx.port),), upstream_tls=tls)


def test_the_editor_leads_there(admin_client: Client) -> None:
    """By a link."""
    host = make_host(upstream_tls=mtls())
    editor = page(admin_client, reverse("admin:hosts_host_change", args=[host.pk]))
    assert f'href="{page_url(host)}"' in editor


def test_the_page_has_files_and_every_snippet(admin_client: Client) -> None:
    """With the facts of the certificate, and the way to prove it."""
    text = page(admin_client, page_url(make_host(upstream_tls=mtls())))
    for shown in (
        "CN=orders client",
        "orders-client.crt",
        "ssl_verify_client on;",
        "verify required",
        "VerifyConnection",
    ):
        assert shown in text
    assert text.count("<details") >= 9
    assert "Prove enforcement" in text


def test_a_hostile_name_is_text(admin_client: Client) -> None:
    """Neither markup nor script."""
    host = make_host(upstream_tls=mtls())
    Host.objects.filter(pk=host.pk).update(name="</pre><script>alert(1)</script>")
    assert "<script>alert(1)" not in page(admin_client, page_url(host))


def test_files_are_downloaded(admin_client: Client) -> None:
    """The client certificate as PEM; what Aegis does not have is not there."""
    url = page_url(make_host(upstream_tls=mtls()))
    response = admin_client.get(f"{url}?file=orders-client.crt")
    assert response.content.decode() == LEAF.chain_pem
    assert response["Content-Disposition"] == 'attachment; filename="orders-client.crt"'
    for missing in ("orders-client-ca.crt", "../etc/passwd", ""):
        assert admin_client.get(url, {"file": missing}).status_code == 404


def test_a_host_without_certificate_is_told_what_to_do(admin_client: Client) -> None:
    """Also one without a configuration row."""
    host = make_host()
    assert "This host has no client certificate." in page(admin_client, page_url(host))
    host.upstream_tls.delete()
    assert "This host has no client certificate." in page(admin_client, page_url(host))


def test_a_viewer_looks_and_proves_nothing(client: Client) -> None:
    """No button, and a POST is refused before anything is tried."""
    sign_in(client, "view_host")
    host = make_host(upstream_tls=mtls())
    assert "Prove enforcement" not in page(client, page_url(host))
    assert client.post(page_url(host)).status_code == 403
    assert ConnectionTest.objects.count() == 0


def test_who_may_not_view_sees_nothing(client: Client) -> None:
    """Nor a stranger to the admin."""
    host = make_host(upstream_tls=mtls())
    assert client.get(page_url(host)).status_code == 302
    sign_in(client, "view_proxyworker")
    assert client.get(page_url(host)).status_code == 403


def test_a_proof_needs_a_csrf_token() -> None:
    """Another site cannot have an upstream tried."""
    client = Client(enforce_csrf_checks=True)
    sign_in(client, "view_host", "change_host")
    assert client.post(page_url(make_host(upstream_tls=mtls()))).status_code == 403
    assert ConnectionTest.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("verify", "badge"), [("on", "Enforced"), ("optional", "Not enforced")])
def test_the_proof_is_shown(client: Client, tmp_path: Path, verify: str, badge: str) -> None:
    """Verdict, reason, and what each attempt got. An operator may have it."""
    sign_in(client, "view_host", "change_host")
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CA.pem, verify=verify) as nginx:
        host = host_before(nginx)
        response = client.post(page_url(host), {"upstream": str(host.upstreams.all()[0].pk)})
    text = response.content.decode()
    assert f">{badge}</span>" in text
    assert "No certificate" in text
    assert "Admitted: HTTP 200" in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("may_issue", [False, True])
def test_only_who_may_issue_has_another_certificate_tried(client: Client, tmp_path: Path, may_issue: bool) -> None:
    """The local CA issues for nobody else."""
    sign_in(client, "view_host", "change_host", *(["add_issuedcertificate"] if may_issue else []))
    with Nginx(tmp_path, server=SERVER, client_ca_pem=ensure_authority().certificate_pem) as nginx:
        tls = UpstreamTLSChanges(ca_certificate=SERVER_CA.pem, server_name="backend.internal")
        host = make_host(upstreams=(UpstreamSpec(address="127.0.0.1", port=nginx.port),), upstream_tls=tls)
        install_issued_certificate(host=host, user=None)
        text = client.post(page_url(host)).content.decode()
    assert ("Enforced for the CA, not for this host alone" in text) is may_issue
    assert IssuedCertificate.objects.count() == 1 + may_issue


def test_what_cannot_be_tried_is_said(admin_client: Client) -> None:
    """A host whose only upstream speaks plain HTTP has no TLS to prove."""
    upstreams = (UpstreamSpec(address="10.0.0.7", port=8080, scheme="http"),)
    response = admin_client.post(page_url(make_host(upstreams=upstreams, upstream_tls=mtls())))
    assert "there is no TLS to test" in response.content.decode()
