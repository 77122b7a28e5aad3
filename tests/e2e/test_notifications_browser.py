"""Notifications as a person sets them up: a browser, a running Aegis, and a real receiver."""

import json
import os

from playwright.sync_api import BrowserContext, expect

from tests.aegis_site.kernel.notifications.examples import SIGNING_SECRET
from tests.support.browser import BROWSER_TESTS, opened
from tests.support.instance import Instance
from tests.support.polling import eventually
from tests.support.receiver import Receiver, receiver

pytestmark = BROWSER_TESTS


def test_a_channel_is_set_up_and_hears_of_a_failure(administrator: BrowserContext, aegis: Instance) -> None:
    """The test button shows its result at once; then an upstream goes down, and the message arrives by itself."""
    with (
        receiver() as there,
        opened(administrator, "/admin/notifications/channel/add/", title="Add channel | Aegis") as page,
    ):
        page.get_by_label("Name").fill("on call")
        page.get_by_label("Kind").select_option("webhook")
        page.get_by_label("URL").fill(f"http://127.0.0.1:{there.port}/hook")
        page.get_by_label("Secret", exact=True).fill(SIGNING_SECRET)
        page.get_by_label("Grouping time").fill("0")
        page.get_by_role("button", name="Save and continue editing").click()
        expect(page.get_by_text(f"http://127.0.0.1:{there.port}/…")).to_be_visible()
        if shots := os.environ.get("AEGIS_SHOTS"):
            page.screenshot(path=f"{shots}/channel.png", full_page=True)

        page.get_by_role("link", name="Send test message").click()
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("The test message is sent.")).to_be_visible()
        assert any(title.startswith("Test message") for title in _titles(there)), _titles(there)

        check = {"enabled": True, "interval_s": 1, "timeout_s": 0.5, "unhealthy_after": 1}
        upstreams = [{"scheme": "http", "address": "127.0.0.1", "port": 1}]
        host = {"name": "gone", "domains": ["gone.example.com"], "upstreams": upstreams, "health_check": check}
        assert aegis.api("POST", "hosts", host).status == 201
        # Other tests' failures in the same Aegis are told too.
        eventually(
            lambda: any(title.startswith("gone has no healthy upstream") for title in _titles(there)), within_s=60
        )
        page.goto("/admin/notifications/delivery/")
        expect(page.get_by_text("Delivered").first).to_be_visible()


def _titles(there: Receiver) -> list[str]:
    return [json.loads(request.body)["data"]["title"] for request in list(there.requests)]
