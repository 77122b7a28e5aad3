"""Posture, what if, and exceptions from verification as a person uses them: chromium against a running Aegis."""

from cryptography.hazmat.primitives import hashes
from playwright.sync_api import Page, expect

from tests.e2e.conftest import HostDocument
from tests.support.browser import BROWSER_TESTS
from tests.support.certificates import Authority
from tests.support.instance import Instance

pytestmark = BROWSER_TESTS


def test_an_exception_is_made_seen_and_asked_about(
    page: Page, aegis: Instance, host_document: HostDocument, client_ca: Authority, server_ca: Authority
) -> None:
    """Reason and end date appear with the switch; the fleet shows them; a change is tried and not made."""
    host = aegis.create_host(**host_document(client_ca.client("orders client")))
    aegis.api("POST", f"hosts/{host['id']}/test-upstream-tls", {})
    page.goto(f"/admin/hosts/host/{host['id']}/change/#tab-upstream-tls")
    reason = page.get_by_label("Reason")
    expect(reason).to_be_hidden()
    page.locator("#id_skip_verify").check(force=True)
    reason.fill("their CA moves")
    page.get_by_label("Until (UTC)").fill("2099-03-01T06:00")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_text("Reason: their CA moves")).to_be_visible()
    expect(page.locator("#id_skip_verify_until")).to_have_value("2099-03-01T06:00")

    page.get_by_role("link", name="Posture").click()
    page.get_by_label("Exceptions").select_option("yes")
    page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row").filter(has_text=host["name"])
    expect(row).to_contain_text("until 2099-03-01, admin: their CA moves")
    expect(row).to_contain_text("TLSv1.3")

    page.get_by_role("link", name="What if").click()
    page.get_by_text("A CA certificate is removed").click()
    section = page.locator("#remove_ca_certificate")
    # That of this host: others have theirs.
    section.get_by_label("CA certificate").select_option(server_ca.certificate.fingerprint(hashes.SHA256()).hex())
    section.get_by_role("button", name="Try it").click()
    expect(page.locator("#answer")).to_be_visible(timeout=40_000)
    expect(page.get_by_role("row").filter(has_text=host["name"])).to_contain_text("Works")
    assert aegis.api("DELETE", f"hosts/{host['id']}").status == 204
