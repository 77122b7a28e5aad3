"""Reading and changing the site settings, and mail that goes out by them."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.site_settings import services
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import (
    PATHS,
    by_path,
    change_settings,
    compose,
    current_settings,
    host_defaults,
    send_test_mail,
)
from aegis_site.kernel.site_settings.smtp import Security, SmtpServer
from tests.support.certificates import Authority
from tests.support.database import Installation
from tests.support.smtp import PASSWORD, USERNAME, mail_server

pytestmark = pytest.mark.django_db

CA = Authority("Mail CA")
MAIL = {
    "smtp_enabled": True,
    "smtp_host": "mail.example.com",
    "smtp_username": "aegis",
    "smtp_password": "canary-one",
    "smtp_from_address": "aegis@example.com",
}


def refused(values: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        change_settings(values=values, user=None)
    return error.value.message_dict


def test_every_column_has_a_path() -> None:
    """No setting is left out of the documents."""
    columns = {field.name for field in SiteSettings._meta.get_fields()} - {"id", "updated_at"}
    assert PATHS.keys() == columns


def test_reading_writes_nothing() -> None:
    """Without a row the defaults count, for one query."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        settings = current_settings()
    assert (len(queries), settings.site_name, settings.updated_at) == (1, "Aegis", None)
    assert not SiteSettings.objects.exists()


def test_a_change() -> None:
    """What is named is stored in its canonical form, the rest stays; the password is sealed."""
    change_settings(values={**MAIL, "smtp_host": "Mail.Example.com."}, user=None)
    change_settings(values={"site_name": "Berlin"}, user=None)
    settings = current_settings()
    assert (settings.smtp_host, settings.site_name, settings.smtp_port) == ("mail.example.com", "Berlin", 587)
    assert settings.smtp_password is not None
    assert settings.smtp_password.reveal() == b"canary-one"
    assert settings.updated_at is not None


def test_a_change_is_in_the_audit_log() -> None:
    """With before and after and who it was; of the password there is a fingerprint, equal for equal passwords."""
    user = User.objects.create_user("ada")
    change_settings(values=MAIL, user=user)
    first = AuditEntry.objects.get(target_type="settings")
    assert (first.user_name, first.action, first.target_name) == ("ada", "changed", "Settings")
    changes = {change["field"]: (change["before"], change["after"]) for change in first.changes}
    fingerprint = changes.pop("smtp.password")[1]
    assert len(fingerprint) == 16
    assert changes == {
        "smtp.enabled": (False, True),
        "smtp.host": ("", "mail.example.com"),
        "smtp.username": ("", "aegis"),
        "smtp.from_address": ("", "aegis@example.com"),
        "smtp.password_set": (False, True),
    }
    change_settings(values={"smtp_password": "canary-two"}, user=user)
    (change,) = AuditEntry.objects.first().changes  # type: ignore[union-attr]
    assert change["field"] == "smtp.password"
    assert change["before"] == fingerprint != change["after"]
    assert "canary" not in json.dumps([entry.changes for entry in AuditEntry.objects.all()])


def test_the_fingerprint_is_of_this_installation(settings: Any) -> None:
    """Under another key the same password has another one: nobody can try passwords against the audit log alone."""
    secret = Sealed.of("hunter2")
    fingerprint = services._fingerprint(secret)
    settings.SECRET_KEY = "another" * 10
    assert services._fingerprint(secret) != fingerprint


def test_a_change_of_nothing() -> None:
    """The same values, the password included, leave row and audit log as they are."""
    first = change_settings(values=MAIL, user=None)
    second = change_settings(values=MAIL, user=None)
    assert second.updated_at == first.updated_at
    assert AuditEntry.objects.count() == 1


def test_all_errors_at_once() -> None:
    """And nothing is stored."""
    errors = refused({**MAIL, "smtp_port": 0, "smtp_host": "a b", "smtp_password": "ä", "audit_retention_days": 1})
    assert errors == {
        "smtp_port": ["Between 1 and 65535."],
        "smtp_host": ["'a b' is neither a DNS name nor an IP address."],
        "smtp_password": ["Printable ASCII characters only."],
        "audit_retention_days": ["Between 30 and 3650."],
    }
    assert current_settings().smtp_host == ""
    assert not AuditEntry.objects.exists()


def test_errors_by_path() -> None:
    """As the API names the columns; what is none keeps its name."""
    error = by_path(ValidationError({"smtp_port": "x", "to": "y"}))
    assert error.message_dict == {"smtp.port": ["x"], "to": ["y"]}


@pytest.mark.parametrize(
    "values",
    [{"smtp_host": "evil.example.com"}, {"smtp_port": 2525}, {"smtp_ca_certificate": Authority("Evil CA").pem}],
)
def test_the_password_is_for_one_server(values: dict[str, Any]) -> None:
    """Whoever names another server, or another voucher for it, enters the password again or clears it."""
    change_settings(values=MAIL, user=None)
    assert refused(values) == {
        "smtp_password": ["Enter the password again: it was for the server that was set before."]
    }
    change_settings(values={**values, "smtp_password": "canary-two"}, user=None)
    change_settings(values={**MAIL, "smtp_ca_certificate": ""}, user=None)
    change_settings(values={**values, "smtp_password": "", "smtp_username": ""}, user=None)
    assert not current_settings().has_smtp_password


def test_another_spelling_is_the_same_server() -> None:
    """Only a difference that remains counts."""
    change_settings(values=MAIL, user=None)
    change_settings(values={"smtp_host": "MAIL.example.com"}, user=None)
    assert current_settings().has_smtp_password


def test_a_password_that_does_not_open(settings: Any) -> None:
    """Everything else can still be changed, and the password be replaced; mail says what is wrong."""
    change_settings(values=MAIL, user=None)
    settings.AEGIS_SSL_KEY = "2e" * 32
    change_settings(values={"site_name": "Berlin"}, user=None)
    with pytest.raises(SecretUnreadable):
        send_test_mail(current_settings(), to="ops@example.com")
    change_settings(values={"smtp_password": "new"}, user=None)
    assert services.smtp_server(current_settings()).password == "new"
    changes = AuditEntry.objects.first().changes  # type: ignore[union-attr]
    assert changes[0]["before"] == "unreadable"


def test_host_defaults() -> None:
    """By the names of the editor's fields."""
    change_settings(values={"host_websockets": False}, user=None)
    assert host_defaults() == {
        "preserve_host": False,
        "websockets": False,
        "access_log": True,
        "load_balancing": "round_robin",
        "min_version": "TLSv1.2",
        "max_version": "TLSv1.3",
    }


def test_a_test_mail_arrives() -> None:
    """By values that are not saved, with headers that a mail needs and no name of this machine."""
    with mail_server(leaf=CA.server("127.0.0.1"), security="starttls", auth=True) as (port, mailbox):
        settings = SiteSettings(
            site_name="Berlin",
            public_url="https://aegis.example.com",
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_username=USERNAME,
            smtp_password=Sealed.of(PASSWORD),
            smtp_from_address="aegis@example.com",
            smtp_ca_certificate=CA.pem,
        )
        assert send_test_mail(settings, to=" ops@example.com ").success
    (mail,) = mailbox.messages
    assert mail["Subject"] == "[Berlin] Test mail"
    assert mail["From"] == "aegis@example.com"
    assert mailbox.recipients == ["ops@example.com"]
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"]
    assert "Berlin at https://aegis.example.com" in bytes(mail.get_payload(decode=True)).decode()


def test_a_test_mail_has_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where ordinary mail has a minute, and fewer where it has fewer."""
    seen: list[float] = []
    monkeypatch.setattr(services, "deliver", lambda *_, timeout_s: seen.append(timeout_s))
    for limit_s in (60, 3):
        settings = SiteSettings(smtp_host="m", smtp_from_address="a@example.com", smtp_timeout_s=limit_s)
        send_test_mail(settings, to="ops@example.com")
    assert seen == [10, 3]


def test_what_a_test_mail_needs() -> None:
    """Server, sender and recipient; all that is missing at once."""
    with pytest.raises(ValidationError) as error:
        send_test_mail(SiteSettings(), to="nobody")
    assert error.value.message_dict == {
        "to": ["'nobody' is not a mail address."],
        "smtp_host": ["Needed to send mail."],
        "smtp_from_address": ["Needed to send mail."],
    }


def test_no_header_can_be_smuggled_in() -> None:
    """A line break in a name ends the attempt, not the header."""
    with pytest.raises(ValueError, match=r"newline|linefeed|carriage"):
        compose(SiteSettings(site_name="a\nBcc: b@example.com"), to=["c@example.com"], subject="x", text="y")


def test_the_server_of_settings_without_a_sign_in() -> None:
    """A stored password stays where it is when nobody signs in."""
    settings = SiteSettings(smtp_host="m", smtp_security="none", smtp_password=Sealed.of("p"))
    assert services.smtp_server(settings) == SmtpServer(host="m", port=587, security=Security.NONE)


_RACE = """
from aegis_site.kernel.site_settings.services import change_settings
from aegis_site.kernel.site_settings.models import SiteSettings
print("ready", flush=True)
sys.stdin.read()
change_settings(values={"recipients": [f"{sys.argv[1]}@example.com"]}, user=None)
assert SiteSettings.objects.count() == 1
"""


def test_many_processes_make_one_row(tmp_path: Path, django_db_setup: None) -> None:
    """The first change of several processes at once: one row, and each change in the audit log."""
    assert Installation(tmp_path).race(_RACE, runners=["0", "1", "2", "3"]) == [""] * 4
