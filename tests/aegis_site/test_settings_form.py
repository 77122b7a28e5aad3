"""The form of the Settings page."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict

from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import PATHS, change_settings, current_settings
from aegis_site.settings_form import CARDS, SettingsForm
from tests.support.certificates import Authority

pytestmark = pytest.mark.django_db

CA = Authority("Mail CA")
SECRET = "canary-form-31e9"


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ada", email="ada@example.com")


def submitted(user: User, changes: dict[str, Any], *, unchecked: tuple[str, ...] = ()) -> SettingsForm:
    """The form as a browser sends it: all fields as shown, with changes."""
    shown = SettingsForm(None, user=user, may_change=True)
    data = QueryDict(mutable=True)
    for name in shown.fields:
        value = shown[name].value()
        if value not in (None, False):
            data[name] = "on" if value is True else value
    for name in unchecked:
        data.pop(name, None)
    data.update(changes)
    return SettingsForm(data, user=user, may_change=True)


def test_every_setting_has_a_place(user: User) -> None:
    """Each column is in exactly one card, and so is each field but the address of the test."""
    placed = [name for _, _, names in CARDS for name in names]
    assert len(placed) == len(set(placed))
    assert set(placed) == {*PATHS, "kept_smtp_password", "clear_smtp_password"}
    form = SettingsForm(None, user=user, may_change=True)
    shown = [field.name for _, _, fields in form.cards() for field in fields]
    assert {*shown, "test_to"} == form.fields.keys()


def test_what_is_shown_can_be_sent_back(user: User) -> None:
    """And changes nothing."""
    change_settings(values={"recipients": ["a@example.com", "b@example.com"], "smtp_password": SECRET}, user=None)
    before = current_settings()
    form = submitted(user, {})
    assert form.is_valid(), form.errors
    after = change_settings(values=form.values, user=user)
    assert after.updated_at == before.updated_at


def test_changes(user: User) -> None:
    """Texts, numbers, choices, switches and lists."""
    changes = {
        "site_name": "Berlin",
        "smtp_port": "465",
        "smtp_security": "tls",
        "recipients": "a@example.com, b@example.com\nc@example.com",
        "host_min_version": "TLSv1.3",
        "smtp_ca_certificate": CA.pem,
    }
    form = submitted(user, changes, unchecked=("host_websockets",))
    assert form.is_valid(), form.errors
    settings = change_settings(values=form.values, user=user)
    assert (settings.site_name, settings.smtp_port, settings.smtp_security) == ("Berlin", 465, "tls")
    assert settings.recipients == ["a@example.com", "b@example.com", "c@example.com"]
    assert (settings.host_min_version, settings.host_websockets, settings.host_access_log) == ("TLSv1.3", False, True)


def test_errors_stand_at_their_fields(user: User) -> None:
    """Those of the form and those of the services, each once."""
    form = submitted(
        user,
        {"smtp_enabled": "on", "smtp_host": "a b", "smtp_port": "x", "recipients": "x", "audit_retention_days": "1"},
    )
    assert form.errors == {
        "smtp_host": ["'a b' is neither a DNS name nor an IP address."],
        "smtp_port": ["Enter a whole number."],
        "smtp_from_address": ["Needed to send mail."],
        "recipients": ["'x' is not a mail address."],
        "audit_retention_days": ["Between 30 and 3650."],
    }


def test_a_password_survives_an_error(user: User) -> None:
    """It is carried on, sealed; sent again it is the same password; nobody else can use it."""
    form = submitted(user, {"smtp_password": SECRET, "smtp_port": "0"})
    assert not form.is_valid()
    page = str(form)
    assert SECRET not in page
    assert "The password you entered is kept." in page
    (token,) = re.findall(r'name="kept_smtp_password" value="([^"]+)"', page)
    again = submitted(user, {"kept_smtp_password": token})
    assert again.is_valid(), again.errors
    assert again.values["smtp_password"] == SECRET
    other = submitted(User.objects.create_user("eve"), {"kept_smtp_password": token})
    assert other.errors == {"smtp_password": ["The kept password is lost: enter it again."]}


def test_removing_the_password(user: User) -> None:
    """There is a box for it when there is one; a password that is entered goes before it."""
    assert "clear_smtp_password" not in SettingsForm(None, user=user, may_change=True).fields
    change_settings(values={"smtp_password": SECRET}, user=None)
    form = submitted(user, {"clear_smtp_password": "on"})
    assert form.is_valid()
    assert form.values["smtp_password"] == ""
    form = submitted(user, {"clear_smtp_password": "on", "smtp_password": "another"})
    assert form.is_valid()
    assert form.values["smtp_password"] == "another"


def test_nothing_secret_is_rendered(user: User) -> None:
    """Neither the stored password, nor one just entered, nor a key pasted in the wrong place."""
    change_settings(values={"smtp_password": SECRET}, user=None)
    key = CA.server("m").key_pem
    form = submitted(user, {"smtp_password": f"{SECRET}2", "smtp_ca_certificate": key})
    assert "smtp_ca_certificate" in form.errors
    page = str(form)
    assert SECRET not in page
    assert key.splitlines()[1] not in page
    assert "A password is stored" in str(SettingsForm(None, user=user, may_change=True))


def test_a_viewer_sees_and_changes_nothing(user: User) -> None:
    """Every field is disabled, so what is sent does not count."""
    form = SettingsForm(QueryDict("site_name=x"), user=user, may_change=False)
    assert all(field.disabled for field in form.fields.values())
    form.is_valid()
    assert form.cleaned_data["site_name"] == "Aegis"


def test_the_test_goes_to_whoever_asks(user: User) -> None:
    """Unless another address is entered."""
    assert SettingsForm(None, user=user, may_change=True)["test_to"].value() == "ada@example.com"


def test_the_candidate_is_not_saved(user: User) -> None:
    """What was submitted can be tried before it is stored."""
    form = submitted(user, {"smtp_host": "mail.example.com"})
    assert form.is_valid()
    assert form.candidate.smtp_host == "mail.example.com"
    assert not SiteSettings.objects.exists()
