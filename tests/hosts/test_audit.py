"""Hosts in the audit log: what is recorded, by every way that changes one, and what never is."""

import base64
import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.recording import one_entry_each
from aegis_site.kernel.masking import MASK
from hosts import enforcement
from hosts.api.serializers import HostSerializer
from hosts.audit import HOSTS, described
from hosts.models import Host
from hosts.services import create_host, delete_hosts, update_host
from hosts.specs import HeaderRuleSpec, HostSpec
from localca.services import IssuanceError
from tests.hosts.examples import LEAF, OTHER_LEAF, OTHER_SITE, SITE, make_host, mtls, site, spec
from tests.hosts.test_admin import ADD, LIST, editor, form_data, mtls_data
from tests.support.pkcs12_files import SECRET, pkcs12_of

pytestmark = pytest.mark.django_db

URL = "/api/v1/hosts"

# Fields of the API that are computed, numbered by Aegis, or only written; and what the log has in their place.
NOT_RECORDED = {"id", "url", "created_at", "updated_at", "warnings", "client_pkcs12", "issue"}
INSTEAD = {"client_key": "client_key_set", "key": "key_set"}


def entries() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(target_type="host").order_by("pk"))


def fields_of(entry: AuditEntry) -> list[str]:
    return [change["field"] for change in entry.changes]


def test_every_field_of_the_api_is_recorded() -> None:
    """Under the same path, so that an entry can be sent back."""
    host = make_host(upstream_tls=mtls(), downstream_tls=site())
    document = described(Host.objects.with_configuration().get(pk=host.pk)).document
    expected = _paths(HostSerializer(host).fields)
    assert expected - _paths_of(document) == set()
    assert json.loads(json.dumps(document)) == document


def _paths(fields: Any, prefix: str = "") -> set[str]:
    paths: set[str] = set()
    for name, field in fields.items():
        if name in NOT_RECORDED or name.endswith(("_info", "passphrase")):
            continue
        inner = getattr(field, "fields", None) or getattr(getattr(field, "child", None), "fields", None)
        if inner and name not in ("request_headers", "response_headers", "headers"):
            paths |= _paths(inner, f"{prefix}{name}.")
        else:
            paths.add(prefix + INSTEAD.get(name, name))
    return paths


def _paths_of(document: Any, prefix: str = "") -> set[str]:
    paths: set[str] = set()
    for name, value in document.items():
        parts = value if isinstance(value, list) else [value]
        for part in parts or [None]:
            paths |= _paths_of(part, f"{prefix}{name}.") if isinstance(part, dict) else {prefix + name}
    return paths


def test_a_created_and_a_deleted_host_are_recorded_whole() -> None:
    """So that it could be made again, but for its keys."""
    host = make_host(upstream_tls=mtls())
    document = HOSTS.read([host.pk])[host.pk].document
    delete_hosts(hosts=[host], user=None)
    created, deleted = entries()
    assert created.changes == differences({}, document)
    assert deleted.changes == differences(document, {})
    assert (deleted.action, deleted.target_name) == ("deleted", "orders")


def test_reading_takes_three_queries(django_assert_num_queries: Any) -> None:
    """However many hosts there are."""
    hosts = [make_host(name) for name in ("a", "b", "c")]
    with django_assert_num_queries(3):
        HOSTS.read([host.pk for host in hosts])


def test_a_save_without_a_change_is_no_history() -> None:
    """Neither by the API nor in the editor; nor is the same key once more."""
    host = make_host(upstream_tls=mtls())
    update_host(host=host, spec=HostSpec(name="orders", upstream_tls=mtls()), user=None)
    assert [entry.action for entry in entries()] == ["created"]


def test_a_replaced_key_is_seen_by_its_fingerprint() -> None:
    """On both sides of the host; the certificates are recorded as text."""
    host = make_host(downstream_tls=site())
    update_host(
        host=host,
        spec=HostSpec(downstream_tls=site(certificate=OTHER_SITE.chain_pem, key=OTHER_SITE.key_pem)),
        user=None,
    )
    entry = entries()[-1]
    assert fields_of(entry) == ["downstream_tls.certificate", "downstream_tls.key_spki_sha256"]
    assert entry.changes[0]["before"] == SITE.chain_pem


def test_credentials_in_header_rules_are_masked() -> None:
    """Another value has another mask; what is no credential stays readable."""
    rules = (
        HeaderRuleSpec(action="set", name="Authorization", value="Bearer canary-1"),
        HeaderRuleSpec(action="set", name="X-Frame-Options", value="DENY"),
        HeaderRuleSpec(action="remove", name="Cookie"),
    )
    host = make_host(request_headers=rules)
    changed = HeaderRuleSpec(action="set", name="Authorization", value="Bearer canary-2")
    update_host(host=host, spec=HostSpec(request_headers=(changed, *rules[1:])), user=None)
    (change,) = entries()[-1].changes
    assert change["field"] == "request_headers[0].value"
    assert change["before"].startswith(MASK)
    assert change["before"] != change["after"]
    document = HOSTS.read([host.pk])[host.pk].document
    assert [rule["value"] for rule in document["request_headers"][1:]] == ["DENY", ""]


# The admin


def test_the_editor_makes_one_entry(admin_client: Client) -> None:
    """For fields, TLS, traffic and inlines together; a second save of the same page makes none."""
    admin_client.post(ADD, form_data(**mtls_data()))
    host = Host.objects.get()
    data = form_data(host, name="renamed", address="10.0.0.9", connect_s="7", request_headers="set X-Token: canary")
    assert admin_client.post(editor(host), data).status_code == 302
    assert admin_client.post(editor(host), data).status_code == 302
    created, changed = entries()
    assert (created.action, created.user_name, created.origin) == ("created", "admin", "admin")
    assert created.target_id == str(host.pk)
    assert "upstreams" in fields_of(created)
    assert (changed.action, changed.target_name) == ("changed", "renamed")
    assert {"name", "upstreams[0].address", "timeouts.connect_s", "request_headers[0]"} <= set(fields_of(changed))
    assert not LogEntry.objects.exists()


def test_save_and_issue_makes_one_entry(admin_client: Client) -> None:
    """It is called by what is more than a change, and has the fields of the form as well."""
    host = make_host()
    data = form_data(host, name="renamed", hosts_host_save_and_issue="1")
    assert admin_client.post(editor(host), data).status_code == 302
    issued = entries()[-1]
    assert len(entries()) == 2
    assert issued.action == "issued"
    assert {"name", "upstream_tls.enabled", "upstream_tls.client_key_set"} <= set(fields_of(issued))


def test_a_failed_issuance_leaves_what_was_saved(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is saved without the certificate, and so says the entry."""

    def fail(**kwargs: Any) -> None:
        raise IssuanceError("issuance_failed", "no")

    monkeypatch.setattr("hosts.services.issue_certificate", fail)
    host = make_host()
    admin_client.post(editor(host), form_data(host, name="renamed", hosts_host_save_and_issue="1"))
    entry = entries()[-1]
    assert "name" in fields_of(entry)
    assert not any(name.startswith("upstream_tls.client") for name in fields_of(entry))


def test_deleting_in_the_admin(admin_client: Client) -> None:
    """By the button and by the action of the list: one entry each, none in Django's own log."""
    hosts = [make_host(name) for name in ("a", "b", "c")]
    AuditEntry.objects.all().delete()
    admin_client.post(reverse("admin:hosts_host_delete", args=[hosts[0].pk]), {"post": "yes"})
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": [h.pk for h in hosts[1:]], "post": "yes"})
    assert sorted((entry.action, entry.target_name, entry.user_name) for entry in entries()) == [
        ("deleted", name, "admin") for name in ("a", "b", "c")
    ]
    assert not LogEntry.objects.exists()


def test_without_its_entry_a_host_is_not_saved(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the editor and by the services."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr("aegis_site.kernel.audit.services.AuditEntry.objects.bulk_create", fail)
    with pytest.raises(RuntimeError):
        admin_client.post(ADD, form_data())
    with pytest.raises(RuntimeError):
        create_host(spec=spec(), user=None)
    assert not Host.objects.exists()


# Others


def test_an_import_writes_its_entries_together() -> None:
    """Many hosts in one block: the entries come at its end, three queries and an insert for all."""
    with CaptureQueriesContext(connection) as queries, one_entry_each(user=None):
        for i in range(20):
            create_host(spec=spec(f"h{i}"), user=None)
        before = len(queries)
        assert entries() == []
    assert len(queries) - before <= 8
    assert [entry.target_name for entry in entries()] == [f"h{i}" for i in range(20)]


def test_a_proof_of_enforcement_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it was tried, whatever comes of it."""
    host = make_host(upstream_tls=mtls())
    user = User.objects.create_user("operator")
    monkeypatch.setattr(enforcement, "_request", lambda *args: None)
    refused = {"success": False, "error": {"code": "timeout", "message": "no answer"}, "http": None}
    monkeypatch.setattr(enforcement, "_result", lambda batch: refused)
    result = enforcement.prove_enforcement(host=host, upstream=host.upstreams.get(), user=user, may_issue=False)
    assert result.verdict is enforcement.Verdict.INCONCLUSIVE
    proved = entries()[-1]
    assert (proved.action, proved.user, proved.changes) == ("proved", user, [])


def test_no_secret_is_in_any_row(admin_client: Client) -> None:
    """Keys, passphrases, tokens in headers, PKCS#12: by the API and by the editor, in any column."""
    passphrase = "canary-passphrase-77"
    tls = {
        "enabled": True,
        "client_certificate": LEAF.chain_pem,
        "client_key": LEAF.encrypted_key_pem(passphrase),
        "client_key_passphrase": passphrase,
    }
    headers = [
        {"action": "set", "name": "Authorization", "value": "Bearer canary-token"},
        {"action": "add", "name": "X-Internal-Secret", "value": "canary-secret"},
        {"action": "set", "name": "X-Backend", "value": "Basic canary-basic"},
    ]
    document = {
        "name": "api",
        "domains": ["api.example.com"],
        "upstreams": [{"address": "10.0.0.7"}],
        "upstream_tls": tls,
        "downstream_tls": {"certificate": SITE.chain_pem, "key": SITE.key_pem},
        "request_headers": headers,
    }
    response = admin_client.post(URL, json.dumps(document), content_type="application/json")
    assert response.status_code == 201, response.content
    url = response.json()["url"]
    admin_client.patch(url, json.dumps({"request_headers": headers[:1]}), content_type="application/json")
    admin_client.post(ADD, form_data(**mtls_data(), request_headers="set Authorization: Bearer canary-form"))
    file = base64.b64encode(pkcs12_of(OTHER_LEAF)).decode()
    tls = {"client_pkcs12": file, "client_key_passphrase": SECRET}
    response = admin_client.patch(url, json.dumps({"upstream_tls": tls}), content_type="application/json")
    assert response.status_code == 200, response.content
    admin_client.delete(url)
    assert [entry.action for entry in entries()] == ["created", "changed", "created", "changed", "deleted"]
    text = str(list(AuditEntry.objects.values()))
    keys = [pair.key_pem.splitlines()[1] for pair in (LEAF, OTHER_LEAF, SITE)]
    canaries = ["canary", "PRIVATE KEY", SECRET, file[:60], *keys]
    assert [canary for canary in canaries if canary in text] == []
