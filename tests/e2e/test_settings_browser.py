"""The Settings page as a person uses it: a browser, a running Aegis, and a real mail server."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browser import BROWSER_TESTS, opened
from tests.support.certificates import Authority
from tests.support.smtp import PASSWORD, USERNAME, mail_server

pytestmark = BROWSER_TESTS

CA = Authority("Mail CA")


@pytest.fixture
def page(administrator: BrowserContext) -> Iterator[Page]:
    """The Settings page. Fails at the end when a script of the page failed."""
    with opened(administrator, "/admin/settings/", title="Settings | Aegis") as page:
        yield page


def test_mail_is_set_up_in_the_browser(page: Page) -> None:
    """An error keeps the password; the test names what is wrong, then arrives; saving shows no password again."""
    with mail_server(leaf=CA.server("127.0.0.1"), security="starttls", auth=True) as (port, mailbox):
        page.get_by_label("Send mail").check()
        page.get_by_label("Server", exact=True).fill("127.0.0.1")
        page.get_by_label("Port*").fill(str(port))
        page.get_by_label("Username").fill(USERNAME)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Sender").fill("not an address")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("'not an address' is not a mail address.")).to_be_visible()
        expect(page.get_by_text("The password you entered is kept.")).to_be_visible()

        page.get_by_label("Sender").fill("aegis@example.com")
        page.get_by_label("Test mail to").fill("ops@example.com")
        page.get_by_role("button", name="Send test mail").click()
        expect(page.get_by_role("alert")).to_contain_text("It failed at the TLS handshake")
        page.get_by_label("CA certificate").fill(CA.pem)
        page.get_by_role("button", name="Send test mail").click()
        expect(page.get_by_text("The server has accepted the mail.")).to_be_visible()
        assert mailbox.recipients == ["ops@example.com"]

        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("The settings are saved.")).to_be_visible()
        expect(page.get_by_text("A password is stored.")).to_be_visible()
        expect(page.get_by_label("Password", exact=True)).to_have_value("")
        assert PASSWORD not in page.content()


def test_the_defaults_are_in_the_form_of_a_new_host(page: Page) -> None:
    """What is set here is where the form for a new host begins."""
    page.get_by_label("Load balancing").select_option("least_connections")
    page.get_by_label("Minimum TLS version").select_option("TLSv1.3")
    page.get_by_label("WebSockets").uncheck()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The settings are saved.")).to_be_visible()
    page.goto("/admin/hosts/host/add/")
    expect(page.locator("[name=load_balancing]")).to_have_value("least_connections")
    expect(page.locator("[name=min_version]")).to_have_value("TLSv1.3")
    expect(page.locator("[name=websockets]")).not_to_be_checked()
