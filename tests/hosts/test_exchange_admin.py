"""The page "Export / Import", as a browser gets it."""

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from hosts.exchange.reading import Format, read_document, write_document
from hosts.models import Host
from tests.hosts.examples import LEAF, make_host
from tests.hosts.exchange.examples import PASSPHRASE, TOKEN, entry, make_secretive_host
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:hosts_host_exchange")
CANARIES = (LEAF.key_pem.splitlines()[2], TOKEN, PASSPHRASE)


def sign_in(client: Client, *codenames: str) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


def shown(response: Any) -> str:
    assert response.status_code == 200
    text = html.unescape(response.content.decode())
    assert not [canary for canary in CANARIES if canary in text]
    return text


def upload(client: Client, content: str, *, name: str = "hosts.yaml", **fields: str) -> Any:
    file = SimpleUploadedFile(name, content.encode(), "application/yaml")
    return client.post(PAGE, {"hosts_document": file, "on_missing": "keep", **fields})


def text_of(*entries: dict[str, Any]) -> str:
    return write_document({"aegis_export": 1, "hosts": [*entries]}, Format.YAML)


def confirmation(page: str) -> dict[str, str]:
    """The fields of the form with which an import is confirmed."""
    return dict(
        re.findall(r'<input type="hidden" name="(token|on_missing|delete_count|confirm)" value="([^"]*)">', page)
    )


def test_the_list_leads_there(admin_client: Client) -> None:
    """By a button."""
    assert f'href="{PAGE}"' in shown(admin_client.get(reverse("admin:hosts_host_changelist")))


@pytest.mark.parametrize(("form", "media_type"), [("yaml", "application/yaml"), ("json", "application/json")])
def test_downloads(admin_client: Client, form: str, media_type: str) -> None:
    """Without secrets, in both formats."""
    make_secretive_host()
    response = admin_client.get(f"{PAGE}?export={form}")
    assert (response["Content-Type"], response["Content-Disposition"]) == (
        media_type,
        f'attachment; filename="aegis-hosts.{form}"',
    )
    shown(response)
    assert read_document(response.content, Format(form))["hosts"][0]["name"] == "orders"


def test_sealed_keys_there_and_back(admin_client: Client) -> None:
    """Out with a passphrase, shown what would be done, and in after it was confirmed; no page shows a secret."""
    make_secretive_host()
    short = admin_client.post(PAGE, {"export": "sealed", "export-passphrase": "short"})
    assert "at least 15 characters" in shown(short)
    download = admin_client.post(PAGE, {"export": "sealed", "export-passphrase": PASSPHRASE})
    text = shown(download)
    assert download["Content-Type"] == "application/yaml"
    assert "no-store" in download["Cache-Control"]
    assert AuditEntry.objects.get(action="exported").user_name == "admin"
    Host.objects.all().delete()

    assert "its passphrase is needed" in shown(upload(admin_client, text))
    assert "The passphrase does not open" in shown(upload(admin_client, text, passphrase="another long passphrase"))
    page = shown(upload(admin_client, text, passphrase=PASSPHRASE))
    assert "1 created." in page
    assert not Host.objects.exists()
    response = admin_client.post(PAGE, confirmation(page), follow=True)
    assert "Imported: 1 created." in shown(response)
    assert Host.objects.get().upstream_tls.client_key.reveal().decode() == LEAF.key_pem
    imported = AuditEntry.objects.get(action="imported")
    assert (imported.user_name, imported.origin, imported.target_name) == ("admin", "admin", "1 created")


def test_what_would_change_is_shown_first(admin_client: Client) -> None:
    """Field by field, before and after; an unchanged file has nothing to confirm."""
    make_host()
    text = admin_client.get(f"{PAGE}?export=yaml").content.decode()
    assert "token" not in confirmation(shown(upload(admin_client, text)))
    page = shown(upload(admin_client, text.replace("preserve_host: false", "preserve_host: true")))
    assert "1 changed." in page
    assert re.search(r"preserve_host</code></dt>\s*<dd[^>]*>False → True", page)
    admin_client.post(PAGE, confirmation(page))
    assert Host.objects.get().preserve_host


def test_errors_are_shown_at_their_hosts(admin_client: Client) -> None:
    """And nothing can be confirmed."""
    page = shown(upload(admin_client, text_of(entry("a"), entry("b", domains=[]))))
    assert "hosts[1].domains</code>: Enter at least one domain." in page
    assert confirmation(page) == {}


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("a: [", "x.yaml", "This is not YAML."),
        ("a: 1", "x.json", "This is not JSON."),
        ("- a", "x.yaml", "A document of hosts is a mapping"),
        ("hosts: []", "x.yaml", "aegis_export: This field is required."),
        ("x" * (6 * 1024 * 1024 + 1), "x.yaml", "The file is larger than 6 MiB."),
    ],
)
def test_what_is_no_document(admin_client: Client, content: str, name: str, message: str) -> None:
    """Is said in the form."""
    assert message in shown(upload(admin_client, content, name=name))


def test_deleting_is_confirmed_with_its_number(admin_client: Client) -> None:
    """When other hosts have gone or come meanwhile, nothing is done."""
    make_host("a")
    page = shown(upload(admin_client, text_of(), on_missing="delete"))
    assert "Import and delete 1 host" in page
    make_host("b")
    response = admin_client.post(PAGE, confirmation(page), follow=True)
    assert "2 hosts are not in the document and would be deleted" in shown(response)
    Host.objects.get(name="b").delete()
    admin_client.post(PAGE, confirmation(page))
    assert not Host.objects.exists()


def test_a_token_is_for_its_user(admin_client: Client, client: Client) -> None:
    """Somebody else's, or an invented one, does nothing."""
    page = shown(upload(admin_client, text_of(entry())))
    sign_in(client, "view_host", "add_host", "change_host")
    for fields in (confirmation(page), {"confirm": "1", "token": "x"}, {"confirm": "1"}):
        assert "choose the file again" in shown(client.post(PAGE, fields, follow=True))
    assert not Host.objects.exists()


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        ("viewer", ["Download YAML"]),
        ("operator", ["Download YAML", "Show what would change"]),
        ("administrator", ["Download YAML", "sealed keys", "Show what would change"]),
    ],
)
def test_what_the_roles_are_offered(client: Client, role: str, offered: list[str]) -> None:
    """Viewers look, operators import, and keys leave by the hands of administrators only."""
    client.force_login(user_of(role))
    page = shown(client.get(PAGE))
    assert [text for text in ("Download YAML", "sealed keys", "Show what would change") if text in page] == offered


def test_who_may_what(client: Client) -> None:
    """Looking is enough for an export without secrets; the rest is neither shown nor done."""
    sign_in(client, "view_host")
    page = shown(client.get(PAGE))
    assert "Download YAML" in page
    assert "sealed keys" not in page
    assert "Show what would change" not in page
    assert client.post(PAGE, {"export": "sealed", "export-passphrase": PASSPHRASE}).status_code == 403
    assert upload(client, text_of()).status_code == client.post(PAGE, {"confirm": "1"}).status_code == 403
    client.logout()
    User.objects.all().delete()
    sign_in(client, "view_host", "add_host", "change_host")
    assert upload(client, text_of(), on_missing="delete").status_code == 403
    client.logout()
    User.objects.all().delete()
    sign_in(client, "view_proxyworker")
    assert client.get(PAGE).status_code == 403
