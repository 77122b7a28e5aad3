"""The site settings in the HTTP API."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.site_settings.services import current_settings
from tests.aegis_site.kernel.site_settings.test_api_serializers import DEFAULTS
from tests.support.certificates import Authority
from tests.support.smtp import PASSWORD, USERNAME, mail_server

pytestmark = pytest.mark.django_db

URL = "/api/v1/settings"
TEST_URL = f"{URL}/test-email"
CA = Authority("Mail CA")


@pytest.fixture
def viewer(client: Client) -> Client:
    """May see the settings."""
    user = User.objects.create_user("viewer")
    user.user_permissions.add(Permission.objects.get(codename="view_sitesettings"))
    client.force_login(user)
    return client


def patch(client: Client, document: Any, **headers: str) -> Any:
    return client.patch(URL, json.dumps(document), content_type="application/json", headers=headers)


def post(client: Client, document: Any) -> Any:
    return client.post(TEST_URL, json.dumps(document), content_type="application/json")


def errors_of(response: Any) -> dict[str, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    return {error["field"]: error["code"] for error in response.json()["errors"]}


@pytest.mark.parametrize("path", [URL, f"{URL}/"])
def test_reading(admin_client: Client, path: str) -> None:
    """All settings, with an ETag; with and without a trailing slash."""
    response = admin_client.get(path)
    assert (response.status_code, response.json()) == (200, DEFAULTS)
    assert response.headers["ETag"].startswith('"')


def test_changing_a_part(admin_client: Client) -> None:
    """What is absent stays, at every level; the answer is the new representation."""
    assert patch(admin_client, {"smtp": {"host": "mail.example.com", "port": 25}}).status_code == 200
    response = patch(admin_client, {"smtp": {"username": "aegis"}, "general": {"site_name": "Berlin"}})
    document = response.json()
    assert document.pop("updated_at")
    assert document == {
        **{name: value for name, value in DEFAULTS.items() if name != "updated_at"},
        "general": {**DEFAULTS["general"], "site_name": "Berlin"},
        "smtp": {**DEFAULTS["smtp"], "host": "mail.example.com", "port": 25, "username": "aegis"},
    }
    assert response.headers["ETag"] == admin_client.get(URL).headers["ETag"]
    changed = AuditEntry.objects.filter(target_type="settings")
    assert list(changed.values_list("user_name", flat=True)) == ["admin", "admin"]


def test_a_password(admin_client: Client) -> None:
    """Absent keeps it, another replaces it, "" clears it, and no answer has it."""
    for document, is_set in (
        ({"password": "canary-1"}, True),
        ({"username": "aegis"}, True),
        ({"password": "canary-2"}, True),
        ({"password": ""}, False),
    ):
        response = patch(admin_client, {"smtp": document})
        assert response.json()["smtp"]["password_set"] is is_set
        assert "canary" not in response.content.decode()


def test_if_match(admin_client: Client) -> None:
    """The first change may be bound to the defaults; a stale one is refused, a new password makes one stale as well."""
    etag = admin_client.get(URL).headers["ETag"]
    first = patch(admin_client, {"smtp": {"password": "one"}}, if_match=etag)
    assert first.status_code == 200
    assert patch(admin_client, {"smtp": {"password": "two"}}, if_match=etag).status_code == 412
    etag = first.headers["ETag"]
    assert patch(admin_client, {"smtp": {"password": "two"}}, if_match=etag).status_code == 200
    assert patch(admin_client, {"smtp": {"password": "three"}}, if_match=etag).status_code == 412


def test_what_is_read_can_be_sent_back(admin_client: Client) -> None:
    """And changes nothing."""
    response = patch(admin_client, admin_client.get(URL).json())
    assert (response.status_code, response.json()) == (200, DEFAULTS)
    assert not AuditEntry.objects.filter(target_type="settings").exists()


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ({"smtp": {"port": 0}}, {"smtp.port": "min_value"}),
        ({"smtp": {"port": 10**400}}, {"smtp.port": "max_value"}),
        ({"smtp": {"port": True}}, {"smtp.port": "invalid"}),
        ({"smtp": {"host": "a\0b"}}, {"smtp.host": "null_characters_not_allowed"}),
        ({"smtp": {"host": "\ud800"}}, {"smtp.host": "surrogate_characters_not_allowed"}),
        ({"smtp": {"host": ["x"]}}, {"smtp.host": "invalid"}),
        ({"smtp": {"host": "a b"}}, {"smtp.host": "invalid"}),
        ({"general": {"site_name": "a" * 101}}, {"general.site_name": "max_length"}),
        ({"smtp": {"security": "ssl"}}, {"smtp.security": "invalid_choice"}),
        ({"smtp": {"security": {}}}, {"smtp.security": "invalid_choice"}),
        ({"smtp": {"enabled": "perhaps"}}, {"smtp.enabled": "invalid"}),
        ({"smtp": {"enabled": True}}, {"smtp.host": "required", "smtp.from_address": "required"}),
        ({"smtp": {"username": "u", "security": "none"}}, {"smtp.security": "password_in_clear"}),
        ({"smtp": {"password": "x" * 501}}, {"smtp.password": "max_length"}),
        ({"smtp": {"password": None}}, {"smtp.password": "null"}),
        ({"smtp": {"nonsense": 1}}, {"smtp.nonsense": "unknown_field"}),
        ({"smtp": None}, {"smtp": "null"}),
        ({"smtp": []}, {"smtp": "invalid"}),
        ({"notifications": {"recipients": ["x"]}}, {"notifications.recipients": "invalid"}),
        ({"notifications": {"recipients": [[]]}}, {"notifications.recipients[0]": "invalid"}),
        ({"general": {"site_name": ""}}, {"general.site_name": "blank"}),
        ({"general": {"site_name": "a\nb"}}, {"general.site_name": "invalid"}),
        ({"general": {"public_url": "ftp://x"}}, {"general.public_url": "invalid"}),
        (
            {"retention": {"audit_days": 29}, "smtp": {"port": "x"}},
            {"retention.audit_days": "min_value", "smtp.port": "invalid"},
        ),
        (
            {"host_defaults": {"min_version": "TLSv1.3", "max_version": "TLSv1.2"}},
            {"host_defaults.max_version": "invalid"},
        ),
        ({"host_defaults": {"min_version": "SSLv3"}}, {"host_defaults.min_version": "invalid_choice"}),
        ({"host_defaults": {"load_balancing": 1}}, {"host_defaults.load_balancing": "invalid_choice"}),
        ({"x": 1}, {"x": "unknown_field"}),
        ([], {"": "invalid"}),
        ("x", {"": "invalid"}),
    ],
)  # fmt: skip
def test_what_is_refused(admin_client: Client, document: Any, errors: dict[str, str]) -> None:
    """400 at the path of the value, and nothing is changed."""
    response = patch(admin_client, document)
    assert response.status_code == 400
    assert errors_of(response) == errors
    assert admin_client.get(URL).json() == DEFAULTS


def test_who_may(viewer: Client, client: Client) -> None:
    """A viewer reads; changes and test mails are the administrator's."""
    assert viewer.get(URL).status_code == 200
    assert patch(viewer, {"general": {"site_name": "x"}}).status_code == 403
    assert post(viewer, {"to": "ops@example.com"}).status_code == 403
    client.logout()
    assert client.get(URL).status_code == 401
    assert patch(client, {}).status_code == 401
    assert post(client, {}).status_code == 401


@pytest.mark.parametrize("method", ["put", "post", "delete"])
def test_other_methods(admin_client: Client, method: str) -> None:
    """There is nothing to replace, to add or to delete."""
    assert getattr(admin_client, method)(URL).status_code == 405


def test_a_test_mail(admin_client: Client) -> None:
    """By saved settings with a part that is not: sent, and not saved."""
    with mail_server(leaf=CA.server("127.0.0.1"), security="starttls", auth=True) as (port, mailbox):
        smtp = {
            "host": "127.0.0.1",
            "port": port,
            "username": USERNAME,
            "password": PASSWORD,
            "from_address": "aegis@example.com",
        }
        assert patch(admin_client, {"smtp": smtp}).status_code == 200
        refused = post(admin_client, {"to": "ops@example.com"})
        assert refused.status_code == 200
        document = refused.json()
        assert document.pop("duration_ms") >= 0
        assert document == {
            "success": False,
            "stage": "tls",
            "code": "unknown_authority",
            "message": "Nobody who is trusted has signed the server's certificate. Enter the CA certificate.",
            "server_answer": "",
        }
        candidate = {"ca_certificate": CA.pem, "password": PASSWORD}
        accepted = post(admin_client, {"to": "ops@example.com", "smtp": candidate})
        assert accepted.json()["success"] is True
        assert mailbox.recipients == ["ops@example.com"]
    assert current_settings().smtp_ca_certificate == ""
    assert PASSWORD not in refused.content.decode() + accepted.content.decode()


def test_a_test_mail_does_not_carry_the_password_elsewhere(admin_client: Client) -> None:
    """With the stored password no other server can be tried: it would learn it."""
    patch(admin_client, {"smtp": {"host": "mail.example.com", "from_address": "a@example.com", "password": "one"}})
    response = post(admin_client, {"to": "ops@example.com", "smtp": {"host": "127.0.0.1"}})
    assert (response.status_code, errors_of(response)) == (400, {"smtp.password": "required_again"})


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ({}, {"to": "required"}),
        ({"to": ""}, {"to": "blank"}),
        ({"to": "x"}, {"to": "invalid", "smtp.host": "required", "smtp.from_address": "required"}),
        ({"to": " "}, {"to": "required", "smtp.host": "required", "smtp.from_address": "required"}),
        ({"to": "a@example.com", "smtp": {"port": 0}}, {"smtp.port": "min_value"}),
        ({"to": "a@example.com", "smtp": {"ca_certificate": "x"}}, {"smtp.ca_certificate": "bad_pem"}),
        ({"to": "a@example.com", "cc": "b@example.com"}, {"cc": "unknown_field"}),
    ],
)
def test_what_a_test_mail_refuses(admin_client: Client, document: Any, errors: dict[str, str]) -> None:
    """400 at the path of the value."""
    response = post(admin_client, document)
    assert (response.status_code, errors_of(response)) == (400, errors)


def test_a_password_that_does_not_open(admin_client: Client, settings: Any) -> None:
    """503 that says so, and no mail."""
    smtp = {"host": "127.0.0.1", "from_address": "a@example.com", "username": "u", "password": "one"}
    patch(admin_client, {"smtp": smtp})
    settings.AEGIS_SSL_KEY = "2e" * 32
    response = post(admin_client, {"to": "ops@example.com"})
    assert response.status_code == 503
    assert "one" not in response.json()["detail"].split()
