"""The admin pages of hosts and workers, as a browser gets them."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.site_settings.services import change_settings
from hosts import downstream_tls, services
from hosts.downstream_admin import ISSUE_SERVER_ACTION
from hosts.models import CompiledHost, Host, ProxyWorker
from hosts.publish import compile_hosts
from localca.models import IssuedCertificate
from localca.services import IssuanceError
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from tests.support.odd_certificates import pem, revocation_list
from tests.support.pkcs12_files import SECRET, pkcs12_of
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

LIST = reverse("admin:hosts_host_changelist")
ADD = reverse("admin:hosts_host_add")
WORKERS = reverse("admin:hosts_proxyworker_changelist")
ISSUE = {"hosts_host_save_and_issue": "1"}

# A line of the key's PEM body: nothing that the server sends may ever hold it.
CANARIES = [LEAF.key_pem.splitlines()[1], OTHER_LEAF.key_pem.splitlines()[1]]


def editor(host: Host) -> str:
    return reverse("admin:hosts_host_change", args=[host.pk])


def form_data(host: Host | None = None, *, address: str = "10.0.0.7", **values: Any) -> dict[str, Any]:
    """What the editor submits, with one upstream."""
    upstream = host.upstreams.first() if host else None
    return {
        "name": "orders",
        "domains": "orders.example.com\n*.orders.example.com",
        "enabled": "on",
        "load_balancing": "round_robin",
        "upstreams-TOTAL_FORMS": "1",
        "upstreams-INITIAL_FORMS": "1" if upstream else "0",
        "upstreams-0-id": str(upstream.pk) if upstream else "",
        "upstreams-0-host": str(host.pk) if host else "",
        "upstreams-0-position": "",
        "upstreams-0-scheme": "https",
        "upstreams-0-address": address,
        "upstreams-0-port": "9443",
        "upstreams-0-weight": "1",
        "upstreams-0-enabled": "on",
        **values,
    }


def mtls_data(**values: Any) -> dict[str, Any]:
    return {"tls_enabled": "on", "client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem, **values}


def sign_in(client: Client, *codenames: str) -> User:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return user


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    text = response.content.decode()
    assert not any(canary in text for canary in CANARIES)
    return text


def hidden_key(text: str) -> str:
    found = re.search(r'name="kept_client_key"[^>]*value="([^"]*)"', text)
    assert found is not None
    return found[1]


# The list


def test_the_list_shows_what_an_operator_must_see(admin_client: Client) -> None:
    """Domains, upstreams, badges; the rest of many upstreams is counted."""
    host = make_host(upstream_tls=mtls(skip_verify=True))
    make_host("plain", upstreams=())
    compile_hosts([host.pk])
    ProxyWorker.objects.create(
        worker_id="w1", generation=1, rejected={str(host.pk): "bad key"}, last_seen_at=timezone.now()
    )
    text = page(admin_client, LIST)
    for shown in ("orders.example.com", "https://10.0.0.7:9443", "mTLS", "TLS not verified", "Refused"):
        assert shown in text


def test_the_list_costs_the_same_for_any_number_of_hosts(admin_client: Client) -> None:
    """No query per row."""

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(admin_client, LIST)
        return len(queries)

    make_host("host0", upstream_tls=mtls())
    few = count()
    for number in range(1, 6):
        make_host(f"host{number}", upstream_tls=mtls())
    assert count() == few


def test_hosts_are_searched_and_filtered(admin_client: Client) -> None:
    """By name, domain and address; by mTLS and missing verification. Each host appears once."""
    make_host("orders", domains=("orders.example.com", "orders.example.net"), upstream_tls=mtls(skip_verify=True))
    make_host("plain")

    def names(query: str) -> list[str]:
        text = page(admin_client, f"{LIST}?{query}")
        return [name for name in ("orders", "plain") for _ in re.findall(rf">\s*{name}\s*</a>", text)]

    assert names("q=orders.example") == ["orders"]
    assert names("q=10.0.0.7") == ["orders", "plain"]
    assert names("upstream_tls__enabled__exact=1") == ["orders"]
    assert names("upstream_tls__skip_verify__exact=0") == ["plain"]


# Saving


def test_a_host_is_created_in_one_go(admin_client: Client, django_capture_on_commit_callbacks: Any) -> None:
    """Host, domains, upstreams and upstream TLS; published after the inlines were saved."""
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(ADD, form_data(**mtls_data(server_name="orders.internal")))
    assert response.status_code == 302, response.content.decode()
    host = Host.objects.get()
    assert [domain.name for domain in host.domains.all()] == ["orders.example.com", "*.orders.example.com"]
    assert host.upstream_tls.client_key.reveal() == LEAF.key_pem.encode()
    entry = CompiledHost.objects.get(pk=host.pk).entry_json
    assert '"address":"10.0.0.7"' in entry
    assert '"server_name":"orders.internal"' in entry


def test_a_new_host_begins_with_the_defaults_of_the_installation(admin_client: Client) -> None:
    """In the form only, and only in that of a new host; the address of the page goes before them."""
    values = {"host_load_balancing": "ip_hash", "host_min_version": "TLSv1.3", "host_websockets": False}
    change_settings(values=values, user=None)
    form = admin_client.get(ADD).context["adminform"].form
    names = ("load_balancing", "min_version", "max_version", "websockets", "access_log", "preserve_host")
    assert [form[name].value() for name in names] == ["ip_hash", "TLSv1.3", "TLSv1.3", False, True, False]
    assert admin_client.get(f"{ADD}?load_balancing=round_robin").context["adminform"].form[
        "load_balancing"
    ].value() == ("round_robin")
    host = make_host()
    form = admin_client.get(editor(host)).context["adminform"].form
    assert [form[name].value() for name in names] == ["round_robin", "TLSv1.2", "TLSv1.3", True, True, False]


def test_websockets_are_a_general_setting(admin_client: Client) -> None:
    """On in the form of a new host; what is submitted is stored."""
    assert re.search(r'<input type="checkbox" name="websockets"[^>]* checked', page(admin_client, ADD))
    admin_client.post(ADD, form_data())
    host = Host.objects.get()
    assert not host.websockets
    admin_client.post(editor(host), form_data(host, websockets="on"))
    host.refresh_from_db()
    assert host.websockets


def test_a_change_of_an_inline_alone_is_published(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    """The upstreams are rows of their own, and still belong to the host's version."""
    host = make_host()
    compile_hosts([host.pk])
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(editor(host), form_data(host, domains="orders.example.com", address="10.0.0.8"))
    assert response.status_code == 302
    row = CompiledHost.objects.get(pk=host.pk)
    assert row.generation == 2
    assert '"address":"10.0.0.8"' in row.entry_json


def test_errors_stand_at_their_fields_and_nothing_is_saved(admin_client: Client) -> None:
    """Wrong key, bad and duplicate domains, a bad upstream; the page holds no key."""
    make_host("other", domains=("taken.example.com",))
    data = form_data(**mtls_data(client_key=OTHER_LEAF.key_pem, domains="taken.example.com, a b"), address="x:1")
    response = admin_client.post(ADD, data)
    text = response.content.decode()
    form = response.context["adminform"].form
    assert form.errors == {
        "domains": [
            "taken.example.com is already a domain of the host other.",
        ],
        "client_key": ["tls: private key does not match public key"],
    }
    assert "the port has its own field" in text
    assert not any(canary in text for canary in CANARIES)
    assert Host.objects.count() == 1


def test_a_key_survives_an_error_elsewhere_in_the_page(admin_client: Client) -> None:
    """An error in an upstream row does not lose the pasted key, and the second try needs no paste."""
    text = admin_client.post(ADD, form_data(**mtls_data(), address="a b")).content.decode()
    assert "The key you pasted is kept" in text
    assert not any(canary in text for canary in CANARIES)
    data = form_data(**mtls_data(client_key="", kept_client_key=hidden_key(text)))
    assert admin_client.post(ADD, data).status_code == 302
    assert UpstreamTLSConfiguration.objects.get().client_key.reveal() == LEAF.key_pem.encode()


def test_another_users_kept_key_does_not_open(client: Client, admin_client: Client) -> None:
    """The hidden field is bound to the person who pasted."""
    text = admin_client.post(ADD, form_data(**mtls_data(server_name="a b"))).content.decode()
    sign_in(client, "add_host", "view_host")
    data = form_data(**mtls_data(client_key="", kept_client_key=hidden_key(text)))
    response = client.post(ADD, data)
    assert "The kept key is lost: paste it again." in response.content.decode()


def test_files_are_uploaded_with_the_form(admin_client: Client) -> None:
    """The form is multipart; what was put right is said after saving, and the key is nowhere in it."""
    assert 'enctype="multipart/form-data"' in page(admin_client, ADD)
    upload = SimpleUploadedFile("orders.p12", pkcs12_of(LEAF, CA.certificate), "application/x-pkcs12")
    data = form_data(tls_enabled="on", client_certificate_file=upload, client_key_passphrase=SECRET)
    response = admin_client.post(ADD, data, follow=True)
    assert UpstreamTLSConfiguration.objects.get().client_key.reveal() == LEAF.key_pem.encode()
    text = response.content.decode()
    assert "The root CN=Orders CA was left out" in text
    assert not any(canary in text for canary in CANARIES)


def test_a_refused_file_is_not_lost(admin_client: Client) -> None:
    """An error in an upstream row: the second try has certificate and key without any file."""
    files = {
        "client_certificate_file": SimpleUploadedFile("orders.pem", LEAF.chain_pem.encode()),
        "client_key_file": SimpleUploadedFile("orders.key", LEAF.key_der),
    }
    response = admin_client.post(ADD, form_data(tls_enabled="on", address="a b", **files))
    text = response.content.decode()
    form = response.context["adminform"].form
    assert not any(canary in text for canary in CANARIES)
    again = {"client_certificate": form["client_certificate"].value(), "kept_client_key": hidden_key(text)}
    assert admin_client.post(ADD, form_data(tls_enabled="on", **again)).status_code == 302
    assert UpstreamTLSConfiguration.objects.get().client_key.reveal() == LEAF.key_pem.encode()


# The editor


def test_warnings_stand_below_what_they_are_about(admin_client: Client) -> None:
    """In the editor, and for who may only look."""
    crl = pem(revocation_list(CA, now=timezone.now() - timedelta(days=60)))
    host = make_host(upstream_tls=mtls(ca_certificate=CA.pem + LEAF.chain_pem, crl=crl))
    make_host("billing", upstream_tls=mtls())
    text = page(admin_client, editor(host))
    assert "The same key is used by billing too." in text
    assert text.index('data-code="shared_certificate"') < text.index('data-code="leaf_as_ca"')
    assert text.index('data-code="leaf_as_ca"') < text.index('data-code="crl_expired"')


def test_advanced_settings_are_folded_until_one_of_them_is_wrong(admin_client: Client) -> None:
    """Nobody needs them to begin with; an error must not hide in the fold."""
    folded = re.compile(r"<details>\s*<summary>.*?Advanced upstream TLS", re.DOTALL)
    assert folded.search(page(admin_client, editor(make_host())))
    text = admin_client.post(ADD, form_data(name="other", domains="o.example", ciphers="nonsense")).content.decode()
    assert "OpenSSL knows no TLS 1.2 cipher of this list." in text
    assert not folded.search(text)


def test_the_editor_shows_facts_and_never_the_key(admin_client: Client) -> None:
    """Certificates with their facts, the key's fingerprint, the warning, what the workers say."""
    host = make_host(upstream_tls=mtls(ca_certificate=CA.pem, skip_verify=True))
    compile_hosts([host.pk])
    now = timezone.now()
    ProxyWorker.objects.create(worker_id="w1", generation=1, last_seen_at=now)
    ProxyWorker.objects.create(worker_id="w2", generation=1, rejected={str(host.pk): "<bad> key"}, last_seen_at=now)
    text = page(admin_client, editor(host))
    configuration = host.upstream_tls
    assert "CN=orders client" in text
    assert "CN=Orders CA" in text
    assert configuration.client_certificate_facts[0].fingerprint_sha256 in text
    assert configuration.client_key_spki_sha256 in text
    assert "PRIVATE KEY" not in text
    assert "TLS not verified" in text
    assert "generation 1" in text
    assert "Accepted" in text
    assert "&lt;bad&gt; key" in text


def test_the_editor_of_a_safe_host_warns_of_nothing(admin_client: Client) -> None:
    """The badge means something because it is rare."""
    text = page(admin_client, editor(make_host()))
    assert "TLS not verified" not in text
    assert "Not published yet." in text


def test_who_may_only_look_sees_facts_and_no_form(client: Client) -> None:
    """Without a textarea, and without the button that issues."""
    host = make_host(upstream_tls=mtls())
    sign_in(client, "view_host", "add_issuedcertificate")
    text = page(client, editor(host))
    assert "CN=orders client" in text
    assert "<textarea" not in text
    assert "Save and issue" not in text
    assert client.post(editor(host), form_data(host, **ISSUE)).status_code == 403
    assert not IssuedCertificate.objects.exists()


# Issuing


def test_one_button_saves_issues_and_enables(admin_client: Client, django_capture_on_commit_callbacks: Any) -> None:
    """For a new host as well, with mTLS switched on and no certificate at hand."""
    assert "Save and issue client certificate" in page(admin_client, ADD)
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(ADD, form_data(tls_enabled="on", **ISSUE))
    host = Host.objects.get()
    assert response.headers["Location"] == editor(host)
    assert host.upstream_tls.enabled
    assert IssuedCertificate.objects.get().subject == "CN=orders.example.com"
    assert "CN=orders.example.com" in CompiledHost.objects.get().name + page(admin_client, editor(host))

    text = page(admin_client, editor(host))
    assert "Save and issue client certificate" in text
    data = form_data(host, client_certificate=host.upstream_tls.client_certificate, tls_enabled="on", **ISSUE)
    assert admin_client.post(editor(host), data).status_code == 302
    assert IssuedCertificate.objects.count() == 2


@pytest.mark.parametrize("button", ["client", "server"])
def test_a_ca_that_cannot_issue_is_told_and_the_host_is_saved(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    """Its reason stands in the editor, for either button; nothing that was typed is lost."""

    def refuse(**_: object) -> None:
        raise IssuanceError("ca_expired", "The local CA has expired")

    monkeypatch.setattr(services, "issue_certificate", refuse)
    monkeypatch.setattr(downstream_tls, "issue_server_certificate", refuse)
    action = ISSUE if button == "client" else {ISSUE_SERVER_ACTION: "1"}
    response = admin_client.post(ADD, form_data(**action), follow=True)
    assert response.status_code == 200
    assert "no certificate was issued: The local CA has expired." in response.content.decode()
    assert Host.objects.get().domains.count() == 2


def test_issuing_is_a_post_with_csrf(admin_user: User) -> None:
    """A GET does nothing, and a POST from elsewhere is refused."""
    host = make_host()
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    client.get(editor(host), ISSUE)
    assert client.post(editor(host), form_data(host, **ISSUE)).status_code == 403
    assert not IssuedCertificate.objects.exists()


def test_issuing_needs_its_own_permission(client: Client) -> None:
    """Who may change hosts but not issue has no button, and its name in the POST does nothing."""
    host = make_host()
    sign_in(client, "view_host", "change_host")
    assert "Save and issue" not in page(client, editor(host))
    assert client.post(editor(host), form_data(host, **ISSUE)).status_code == 302
    assert not IssuedCertificate.objects.exists()


def test_upstreams_are_edited_by_whoever_may_edit_the_host(client: Client) -> None:
    """They have no permissions of their own."""
    host = make_host()
    sign_in(client, "change_host")
    data = form_data(host, domains="orders.example.com", address="10.0.0.8")
    assert client.post(editor(host), data).status_code == 302
    assert host.upstreams.get().address == "10.0.0.8"


def test_who_may_add_but_not_change_is_offered_no_issuing(client: Client) -> None:
    """The button would save the host and then be refused."""
    sign_in(client, "add_host", "add_issuedcertificate")
    assert "Save and issue" not in page(client, ADD)
    assert client.post(ADD, form_data(**ISSUE)).status_code == 302
    assert Host.objects.get().upstreams.count() == 1
    assert not IssuedCertificate.objects.exists()


# Deleting


def test_deleting_one_or_several_publishes_tombstones(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    """By the button and by the action of the list."""
    hosts = [make_host(name) for name in ("a", "b", "c")]
    compile_hosts([host.pk for host in hosts])
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(reverse("admin:hosts_host_delete", args=[hosts[0].pk]), {"post": "yes"})
        admin_client.post(
            LIST, {"action": "delete_selected", "_selected_action": [host.pk for host in hosts[1:]], "post": "yes"}
        )
    assert not Host.objects.exists()
    assert not CompiledHost.objects.exclude(entry_json="").exists()
    entries = AuditEntry.objects.filter(target_type="host", action="deleted", origin="admin", user_name="admin")
    assert sorted(entry.target_name for entry in entries) == ["a", "b", "c"]


def test_the_history_holds_no_secret(admin_client: Client) -> None:
    """It shows what changed: a replaced key by its fingerprint."""
    admin_client.post(ADD, form_data(**mtls_data()))
    host = Host.objects.get()
    other = mtls_data(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem, preserve_host="on")
    admin_client.post(editor(host), form_data(host, **other))
    changes = AuditEntry.objects.get(action="changed").changes
    assert [change["field"] for change in changes] == [
        "preserve_host",
        "upstream_tls.client_certificate",
        "upstream_tls.client_key_spki_sha256",
    ]
    history = page(admin_client, reverse("admin:hosts_host_history", args=[host.pk]))
    assert "CN=another client" in history
    assert not any(canary in str(entry.changes) for canary in CANARIES for entry in AuditEntry.objects.all())


# Workers


def test_workers_are_shown_and_cannot_be_changed(admin_client: Client) -> None:
    """State, generation, refused hosts with their names and reasons; constant queries; no buttons that write."""
    host = make_host()
    compile_hosts([host.pk])
    now = timezone.now()
    ProxyWorker.objects.create(worker_id="w0", generation=0, last_seen_at=now)
    with CaptureQueriesContext(connection) as few:
        text = page(admin_client, WORKERS)
    assert "Behind" in text
    assert "Not heard: passive health alone" in text
    rejected = {str(host.pk): "bad key", str(uuid.uuid4()): "gone"}
    for number in (1, 2, 3):
        ProxyWorker.objects.create(
            worker_id=f"w{number}", generation=1, rejected=rejected, health_feed_is_current=True, last_seen_at=now
        )
    with CaptureQueriesContext(connection) as many:
        text = page(admin_client, WORKERS)
    assert "Current" in text
    assert "Heard" in text
    assert len(many) == len(few)
    url = reverse("admin:hosts_proxyworker_change", args=["w1"])
    text = page(admin_client, url)
    assert "bad key" in text
    assert "orders" in text
    assert "(deleted host)" in text
    assert admin_client.post(url, {"generation": 9}).status_code == 403
    assert admin_client.get(reverse("admin:hosts_proxyworker_add")).status_code == 403


def test_an_upstream_tls_change_alone_is_seen_in_the_editor(admin_client: Client) -> None:
    """A host without upstreams keeps its section."""
    host = make_host(upstreams=(), upstream_tls=UpstreamTLSChanges(server_name="orders.internal"))
    assert "orders.internal" in page(admin_client, editor(host))
