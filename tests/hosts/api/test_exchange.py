"""Export and import of hosts over HTTP."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from aegis_site.kernel.audit.models import AuditEntry
from hosts.exchange.reading import MAX_DOCUMENT_BYTES, Format, read_document
from hosts.models import Host
from tests.hosts.examples import LEAF, make_host
from tests.hosts.exchange.examples import PASSPHRASE, TOKEN, entry, make_secretive_host

pytestmark = pytest.mark.django_db

EXPORT, IMPORT = "/api/v1/hosts/export", "/api/v1/hosts/import"
CANARIES = (LEAF.key_pem.splitlines()[2], TOKEN, PASSPHRASE)


def envelope(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"aegis_export": 1, "hosts": [*entries], **more}


def post(client: Client, document: Any, query: str = "", **options: Any) -> Any:
    content_type = options.pop("content_type", "application/json")
    return client.post(f"{IMPORT}?{query}", document, content_type=content_type, **options)


def errors_of(response: Any, status: int = 400) -> dict[str, str]:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def sign_in(client: Client, *codenames: str) -> None:
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


@pytest.mark.parametrize(
    ("query", "accept", "form", "media_type"),
    [
        ("", "*/*", Format.JSON, "application/json"),
        ("format=yaml", "*/*", Format.YAML, "application/yaml; charset=utf-8"),
        ("", "application/yaml", Format.YAML, "application/yaml; charset=utf-8"),
        ("format=json", "application/json", Format.JSON, "application/json"),
    ],
)
def test_an_export(admin_client: Client, query: str, accept: str, form: Format, media_type: str) -> None:
    """A file in the format that was asked for, without secrets."""
    make_secretive_host()
    response = admin_client.get(f"{EXPORT}?{query}", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, media_type)
    assert response["Content-Disposition"] == f'attachment; filename="aegis-hosts.{form}"'
    document = read_document(response.content, form)
    assert document["aegis_export"] == 1
    assert document["hosts"][0]["upstream_tls"]["client_key_set"] is True
    assert not [canary for canary in CANARIES if canary in response.content.decode()]


def test_a_choice_of_hosts(admin_client: Client) -> None:
    """By id and by search, as in the list."""
    first, second, _ = make_host("orders"), make_host("shop"), make_host("blog")

    def names(query: str) -> list[str]:
        return [host["name"] for host in admin_client.get(f"{EXPORT}?{query}").json()["hosts"]]

    assert names(f"id={first.pk}&id={second.pk}") == ["orders", "shop"]
    assert names("search=blog") == ["blog"]
    assert names("ordering=-name") == ["shop", "orders", "blog"]
    assert list(errors_of(admin_client.get(f"{EXPORT}?id=x"))) == ["id[0]"]
    assert errors_of(admin_client.get(f"{EXPORT}?format=yaml&id=%00"))


def test_a_sealed_export_and_its_import(admin_client: Client) -> None:
    """The passphrase is in the body both times; the audit log knows of the export; nothing shows a secret."""
    make_secretive_host()
    response = admin_client.post(f"{EXPORT}?format=yaml", {"passphrase": PASSPHRASE}, content_type="application/json")
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    text = response.content.decode()
    assert not [canary for canary in CANARIES if canary in text]
    noted = AuditEntry.objects.get(action="exported")
    assert (noted.user_name, noted.target_type, noted.changes[0]["field"]) == ("admin", "hosts", "orders")
    Host.objects.all().delete()
    answer = post(admin_client, f"passphrase: {PASSPHRASE}\n{text}", content_type="application/yaml")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["created"], answer.json()["failed"]) == (1, 0)
    assert not [canary for canary in CANARIES if canary in answer.content.decode()]
    assert Host.objects.get().upstream_tls.client_key.reveal().decode() == LEAF.key_pem


def test_a_passphrase_that_can_be_guessed(admin_client: Client) -> None:
    """Seals nothing."""
    response = admin_client.post(EXPORT, {"passphrase": "short"}, content_type="application/json")
    assert errors_of(response) == {"passphrase": "min_length"}
    assert not AuditEntry.objects.filter(action="exported").exists()


def test_a_trial_run(admin_client: Client) -> None:
    """Answers what would change in each host, and errors at their places, and does nothing."""
    host = make_host()
    document = admin_client.get(EXPORT).json()["hosts"][0]
    response = post(admin_client, envelope({**document, "enabled": False}, entry("bad", domains=[])), "dry_run=true")
    assert response.status_code == 200
    result = response.json()
    counts = {name: result[name] for name in ("dry_run", "created", "changed", "unchanged", "deleted", "failed")}
    assert counts == {"dry_run": True, "created": 0, "changed": 1, "unchanged": 0, "deleted": 0, "failed": 1}
    assert result["hosts"][0] == {
        "position": 0,
        "id": str(host.pk),
        "name": "orders",
        "outcome": "changed",
        "changes": [{"field": "enabled", "before": True, "after": False}],
        "errors": [],
    }
    assert [error["field"] for error in result["hosts"][1]["errors"]] == ["hosts[1].domains"]
    assert Host.objects.get().enabled


def test_an_import_that_is_refused(admin_client: Client) -> None:
    """One problem document with the errors of all hosts."""
    bad = entry("b", upstreams=[{"address": "10.0.0.7", "port": 0}])
    assert errors_of(post(admin_client, envelope(entry("a"), bad))) == {"hosts[1].upstreams[0].port": "min_value"}
    assert not Host.objects.exists()


def test_progress(admin_client: Client) -> None:
    """A line for every ten hosts, and the result as the last one."""
    entries = [entry(f"host{number}") for number in range(25)]
    response = post(admin_client, envelope(*entries), headers={"Accept": "application/x-ndjson"})
    assert (response.status_code, response["Content-Type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    assert lines[:2] == [{"done": 10, "total": 25}, {"done": 20, "total": 25}]
    assert (lines[2]["done"], lines[2]["result"]["created"]) == (25, 25)
    assert Host.objects.count() == 25


def test_progress_of_an_import_that_is_refused(admin_client: Client) -> None:
    """The last line is the problem document; what is wrong around the hosts is one from the start."""
    headers = {"Accept": "application/x-ndjson"}
    response = post(admin_client, envelope(entry("a", domains=[])), headers=headers)
    (line,) = b"".join(response.streaming_content).splitlines()
    assert (json.loads(line)["status"], json.loads(line)["errors"][0]["field"]) == (400, "hosts[0].domains")
    assert errors_of(post(admin_client, {"hosts": []}, headers=headers)) == {"aegis_export": "required"}


def test_progress_with_an_idempotency_key(admin_client: Client) -> None:
    """Who breaks an import off may send it again; before, it counted as carried out. A refused one stays refused."""
    document = envelope(*[entry(f"host{number}") for number in range(15)])
    headers = {"Accept": "application/x-ndjson", "Idempotency-Key": "a"}
    broken_off = post(admin_client, document, headers=headers)
    assert json.loads(next(broken_off.streaming_content)) == {"done": 10, "total": 15}
    assert errors_of(post(admin_client, document, headers=headers), 409) == {"": "idempotency_in_progress"}
    broken_off._iterator.close()
    assert not Host.objects.exists()
    again = post(admin_client, document, headers=headers)
    assert json.loads(b"".join(again.streaming_content).splitlines()[-1])["result"]["created"] == 15
    assert errors_of(post(admin_client, document, headers=headers), 409) == {"": "idempotency_answer_not_kept"}

    headers["Idempotency-Key"] = "b"
    refused = post(admin_client, envelope(entry("a", domains=[])), headers=headers)
    assert json.loads(b"".join(refused.streaming_content))["status"] == 400
    problem = post(admin_client, envelope(entry("a", domains=[])), headers=headers).json()
    assert "status 400" in problem["detail"]


def test_deleting(admin_client: Client) -> None:
    """Only with the number of hosts that go."""
    make_host("a")
    query = "on_missing=delete"
    assert errors_of(post(admin_client, envelope(), query)) == {"delete_count": "delete_count"}
    assert post(admin_client, envelope(), f"{query}&dry_run=true").json()["deleted"] == 1
    assert post(admin_client, envelope(), f"{query}&delete_count=1").json()["deleted"] == 1
    assert not Host.objects.exists()


@pytest.mark.parametrize(
    ("query", "field"), [("dry_run=x", "dry_run"), ("on_missing=x", "on_missing"), ("delete_count=-1", "delete_count")]
)
def test_wrong_options(admin_client: Client, query: str, field: str) -> None:
    """At their names."""
    assert list(errors_of(post(admin_client, envelope(), query))) == [field]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"a: [", "application/yaml", 400),
        (b"{", "application/json", 400),
        (b"- x", "application/yaml", 400),
        (b"a: &x [*x]", "application/yaml", 400),
        (b'{"aegis_export": 1, "hosts": [{"name": "\\ud800"}]}', "application/json", 400),
        (b'{"aegis_export": 1, "hosts": [{"\\u0000\\ud800": 1, "id": "\\ud800"}]}', "application/json", 400),
        (b'{"aegis_export": 1, "hosts": [{"name": "a\\u0000"}]}', "application/json", 400),
        (b'{"aegis_export": 1, "hosts": [], "passphrase": "\\ud800"}', "application/json", 400),
        (b"x", "text/plain", 415),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "application/yaml", 413),
    ],
)
def test_what_is_no_document(admin_client: Client, body: bytes, content_type: str, status: int) -> None:
    """Is a problem document, never a failure."""
    errors_of(post(admin_client, body, content_type=content_type), status)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_name_that_could_not_be_sent_back(admin_client: Client, accept: str) -> None:
    """Is refused, and stands in the answer of a trial run in another form."""
    body = b'{"aegis_export": 1, "hosts": [{"name": "a\\ud800"}, {"name": "b\\u0000", "domains": ["\\ud800"]}]}'
    response = post(admin_client, body, "dry_run=true", headers={"Accept": accept})
    content = b"".join(response.streaming_content) if response.streaming else response.content
    result = json.loads(content.splitlines()[-1])
    hosts = result.get("result", result)["hosts"]
    assert [(host["name"], host["outcome"]) for host in hosts] == [("a?", "failed"), ("b\x00", "failed")]


def test_who_may_what(client: Client) -> None:
    """Who looks may export; keys need a right of their own, an import that of adding and changing, and of deleting."""
    make_host("a")
    rights: list[str] = []

    def allowed() -> dict[str, bool]:
        User.objects.filter(username="somebody").delete()
        sign_in(client, *rights)
        answers = {
            "export": client.get(EXPORT),
            "sealed": client.post(EXPORT, {"passphrase": PASSPHRASE}, content_type="application/json"),
            "import": post(client, envelope(), "dry_run=true"),
            "delete": post(client, envelope(), "dry_run=true&on_missing=delete"),
        }
        assert {answer.status_code for answer in answers.values()} <= {200, 403}
        return {name: answer.status_code == 200 for name, answer in answers.items()}

    assert allowed() == {"export": False, "sealed": False, "import": False, "delete": False}
    rights += ["view_host"]
    assert allowed() == {"export": True, "sealed": False, "import": False, "delete": False}
    rights += ["add_host", "change_host"]
    assert allowed() == {"export": True, "sealed": False, "import": True, "delete": False}
    rights += ["delete_host"]
    assert allowed() == {"export": True, "sealed": False, "import": True, "delete": True}
    rights += ["export_host_secrets"]
    assert allowed() == {"export": True, "sealed": True, "import": True, "delete": True}
    client.logout()
    assert client.get(EXPORT).status_code == post(client, envelope()).status_code == 401
