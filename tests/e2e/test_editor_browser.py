"""The tabs of the host editor as a person uses them: Debian's chromium against a running Aegis."""

from playwright.sync_api import BrowserContext, Dialog, Page, expect

from tests.e2e.conftest import HostDocument
from tests.support.browser import BROWSER_TESTS, open_tab
from tests.support.instance import Instance

pytestmark = BROWSER_TESTS


def editor(page: Page, aegis: Instance, host_document: HostDocument, fragment: str = "") -> str:
    host = aegis.create_host(**host_document())
    address = f"/admin/hosts/host/{host['id']}/change/"
    page.goto(address + fragment)
    return address


def save(page: Page) -> None:
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state()


def test_tabs_are_reached_by_keys_and_addresses(page: Page, aegis: Instance, host_document: HostDocument) -> None:
    """One is open; arrows move; a link to a field opens its tab and its fold; saving comes back to the same tab."""
    address = editor(page, aegis, host_document)
    expect(page.locator(".et-panel:visible")).to_have_count(1)
    page.get_by_role("tab", name="General").focus()
    for key, name in (("ArrowLeft", "History"), ("Home", "General"), ("ArrowRight", "Upstreams"), ("End", "History")):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=name)).to_be_focused()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".et-panel:visible")).to_have_id("tab-history")
    page.evaluate("location.hash = '#id_ciphers'")
    expect(page.get_by_label("TLS 1.2 cipher list")).to_be_visible()
    open_tab(page, "Certificates")
    save(page)
    assert page.url.endswith(f"{address}#tab-certificates")
    expect(page.locator(".et-panel:visible")).to_have_id("tab-certificates")


def test_an_error_marks_its_tab_and_opens_it(page: Page, aegis: Instance, host_document: HostDocument) -> None:
    """Wherever one was; nothing that was typed is lost, and it is not saved yet."""
    editor(page, aegis, host_document)
    open_tab(page, "Upstreams")
    page.locator("[name=upstreams-0-address]").fill("a b")
    open_tab(page, "General")
    page.get_by_label("Tags").fill("no tag!")
    open_tab(page, "History")
    save(page)
    expect(page.get_by_role("tab", name="General 1 error")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab", name="Upstreams 1 error")).to_be_visible()
    expect(page.get_by_label("Tags")).to_have_value("no tag!")
    expect(page.get_by_text("Unsaved changes")).to_be_visible()


def test_changes_that_are_not_saved_are_not_lost_by_chance(
    page: Page, aegis: Instance, host_document: HostDocument
) -> None:
    """A note while there are any, and a question before leaving; none after saving, and none about nothing."""
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    editor(page, aegis, host_document)
    note = page.get_by_text("Unsaved changes")
    page.get_by_label("Tags").click()
    expect(note).to_have_count(0)
    page.get_by_label("Tags").fill("prod")
    expect(note).to_be_visible()
    page.get_by_label("Tags").fill("")
    expect(note).to_have_count(0)
    open_tab(page, "Upstreams")
    page.get_by_text("Add another Upstream").click()
    expect(note).to_be_visible()
    page.reload()
    assert asked == ["beforeunload"]
    expect(note).to_have_count(0)
    page.locator("[name=upstreams-0-weight]").fill("7")
    save(page)
    expect(page.locator("[name=upstreams-0-weight]")).to_have_value("7")
    expect(note).to_have_count(0)
    assert asked == ["beforeunload"]


def test_fields_are_shown_with_what_they_belong_to(page: Page, aegis: Instance, host_document: HostDocument) -> None:
    """And keep their values while they are hidden."""
    editor(page, aegis, host_document, "#tab-upstream-tls")
    certificate = page.get_by_label("Client Certificate", exact=True)
    expect(certificate).to_be_hidden()
    page.get_by_label("Enable mTLS").check()
    certificate.fill("kept")
    page.get_by_label("Enable mTLS").uncheck()
    expect(certificate).to_be_hidden()
    expect(certificate).to_have_value("kept")
    for switch, shown in (("Skip TLS Verification", "Reason"),):
        expect(page.get_by_label(shown)).to_be_hidden()
        page.get_by_label(switch).check()
        expect(page.get_by_label(shown)).to_be_visible()
    open_tab(page, "Health")
    path = page.locator("[name=health_check-0-path]")
    expect(path).to_be_hidden()
    page.locator("[name=health_check-0-enabled]").check()
    expect(path).to_be_visible()
    page.locator("[name=health_check-0-kind]").select_option("tcp")
    expect(path).to_be_hidden()
    expect(page.locator("[name=health_check-0-interval_s]")).to_be_visible()


def test_without_scripts_everything_is_there(
    administrator: BrowserContext, aegis: Instance, host_document: HostDocument
) -> None:
    """Below each other, behind a list of links."""
    page = administrator.new_page()
    page.route("**/editor_*.js", lambda route: route.abort())
    editor(page, aegis, host_document)
    expect(page.locator(".et-panel:visible")).to_have_count(7)
    page.get_by_role("link", name="Certificates", exact=True).click()
    assert page.url.endswith("#tab-certificates")
    page.close()
