"""The traffic of a host as a person sees it: chromium against a running Aegis."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import HostDocument
from tests.support.browser import BROWSER_TESTS
from tests.support.certificates import Authority
from tests.support.instance import Instance
from tests.support.polling import eventually

pytestmark = BROWSER_TESTS


def test_a_host_shows_its_requests_by_hour_day_and_week(
    page: Page, aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """What clients asked for is there in seconds; another time is a click that needs no script and changes nothing."""
    host = aegis.create_host(**host_document(client_ca.client("orders client")))
    eventually(lambda: aegis.proxy(host["domains"][0]).status == 200, within_s=5)
    for _ in range(9):
        assert aegis.proxy(host["domains"][0]).status == 200
    eventually(
        lambda: aegis.api("GET", f"hosts/{host['id']}/traffic").json["total"]["requests"] == 10,
        within_s=15,
        every_s=0.5,
    )
    page.goto(f"/admin/hosts/host/{host['id']}/change/#tab-health")
    for label in ("24 hours", "1 hour", "7 days"):
        page.locator(".ts-window", has_text=label).click()
        part = page.locator(".ts-part:visible")
        expect(part).to_have_count(1)
        expect(part).to_contain_text("10 requests, 0 % errors")
        expect(part.get_by_role("img")).to_have_count(4)
    assert aegis.api("DELETE", f"hosts/{host['id']}").status == 204
