"""The Settings page of the admin: its form and its test mail. The facts on it: test_admin_site.py."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.site_settings.services import change_settings, current_settings
from tests.support.certificates import Authority
from tests.support.smtp import PASSWORD, USERNAME, mail_server

pytestmark = pytest.mark.django_db

URL = "/admin/settings/"
CA = Authority("Mail CA")


@pytest.fixture
def viewer(client: Client) -> Client:
    """Signed in to the admin, may see the settings."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_sitesettings"))
    client.force_login(user)
    return client


def values(client: Client, **changes: str) -> dict[str, Any]:
    """What a browser would send."""
    form = client.get(URL).context["form"]
    shown = {name: form[name].value() for name in form.fields}
    data = {name: "on" if value is True else value for name, value in shown.items() if value not in (None, False)}
    return {**data, **changes}


def test_saving(admin_client: Client) -> None:
    """What is submitted is stored, said to be, and in the audit log with the user's name."""
    assert reverse("admin:aegis_settings") == URL
    response = admin_client.post(URL, values(admin_client, site_name="Berlin", smtp_password="canary-1"), follow=True)
    assert response.redirect_chain == [(URL, 302)]
    page = response.content.decode()
    assert "The settings are saved." in page
    assert 'value="Berlin"' in page
    assert "canary-1" not in page
    assert AuditEntry.objects.get(target_type="settings").user_name == "admin"
    assert current_settings().has_smtp_password


def test_an_error_loses_nothing(admin_client: Client) -> None:
    """The page comes back with what was entered, the error at its field, and the password carried on."""
    changes = {"site_name": "Berlin", "smtp_port": "0", "smtp_password": "canary-1"}
    response = admin_client.post(URL, values(admin_client, **changes))
    page = response.content.decode()
    assert response.status_code == 200
    assert "Between 1 and 65535." in page
    assert 'value="Berlin"' in page
    assert "The password you entered is kept." in page
    assert "canary-1" not in page
    assert current_settings().site_name == "Aegis"


def test_a_viewer(viewer: Client) -> None:
    """Sees the values without a button, and can neither save nor send."""
    change_settings(values={"smtp_host": "mail.example.com"}, user=None)
    page = viewer.get(URL).content.decode()
    assert 'value="mail.example.com"' in page
    assert "Send test mail" not in page
    assert 'name="save"' not in page
    for button in ("save", "test_mail"):
        assert viewer.post(URL, {button: "1", "site_name": "x"}).status_code == 403
    assert current_settings().site_name == "Aegis"


def test_staff_without_permission(client: Client) -> None:
    """Sees the facts of the installation and no settings."""
    change_settings(values={"smtp_host": "mail.example.com"}, user=None)
    client.force_login(User.objects.create_user("staff", is_staff=True))
    page = client.get(URL).content.decode()
    assert "Listeners" in page
    assert "mail.example.com" not in page
    assert client.post(URL, {"save": "1"}).status_code == 403


def test_both_buttons_need_a_csrf_token(admin_client: Client) -> None:
    """Another site can press neither."""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin_client.cookies
    for button in ("save", "test_mail"):
        assert strict.post(URL, {button: "1"}).status_code == 403


def test_a_test_mail(admin_client: Client) -> None:
    """By the values of the form: why it failed, in the server's words; then that it arrived. Nothing is saved."""
    with mail_server(leaf=CA.server("127.0.0.1"), security="tls", auth=True) as (port, mailbox):
        form = values(
            admin_client,
            smtp_host="127.0.0.1",
            smtp_port=str(port),
            smtp_security="tls",
            smtp_username=USERNAME,
            smtp_password="wrong",
            smtp_from_address="aegis@example.com",
            smtp_ca_certificate=CA.pem,
            test_to="ops@example.com",
            test_mail="1",
        )
        page = admin_client.post(URL, form).content.decode()
        assert "It failed at signing in: The server does not accept this username and password." in page
        assert "535 5.7.8" in page
        page = admin_client.post(URL, {**form, "smtp_password": PASSWORD}).content.decode()
        assert "The server has accepted the mail." in page
        assert PASSWORD not in page
        assert mailbox.recipients == ["ops@example.com"]
    assert current_settings().smtp_host == ""
    assert not AuditEntry.objects.filter(target_type="settings").exists()


def test_what_a_server_says_is_escaped(admin_client: Client) -> None:
    """A mail server writes no HTML into the admin."""
    from tests.support.smtp import scripted_server

    with scripted_server(lambda connection: connection.sendall(b"554 <script>alert(1)</script>\r\n")) as port:
        form = values(
            admin_client,
            smtp_host="127.0.0.1",
            smtp_port=str(port),
            smtp_from_address="aegis@example.com",
            test_to="ops@example.com",
            test_mail="1",
        )
        page = admin_client.post(URL, form).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


def test_a_test_mail_without_what_it_needs(admin_client: Client) -> None:
    """Each missing value is told at its field, and beside the button that nothing was sent."""
    response = admin_client.post(URL, values(admin_client, test_to="x", test_mail="1"))
    assert response.context["form"].errors == {
        "test_to": ["'x' is not a mail address."],
        "smtp_host": ["Needed to send mail."],
        "smtp_from_address": ["Needed to send mail."],
    }
    refused = "Nothing was sent: correct the errors"
    assert refused in response.content.decode()
    assert refused in admin_client.post(URL, values(admin_client, smtp_port="0", test_mail="1")).content.decode()
    assert refused not in admin_client.post(URL, values(admin_client, smtp_port="0", save="1")).content.decode()


def test_a_stored_password_that_does_not_open(admin_client: Client, settings: Any) -> None:
    """The page says so instead of failing."""
    stored = {"smtp_host": "127.0.0.1", "smtp_username": "u", "smtp_password": "one", "smtp_from_address": "a@b.test"}
    change_settings(values=stored, user=None)
    settings.AEGIS_SSL_KEY = "2e" * 32
    response = admin_client.post(URL, values(admin_client, test_to="ops@example.com", test_mail="1"))
    assert response.status_code == 200
    assert response.context["form"].non_field_errors()
