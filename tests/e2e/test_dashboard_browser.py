"""The first page of the admin in a browser: it follows what happens, and says when it cannot."""

import re
import uuid

from playwright.sync_api import BrowserContext, expect

from tests.support.browser import BROWSER_TESTS, opened
from tests.support.instance import Instance

pytestmark = BROWSER_TESTS

LIVE = "**/admin/dashboard/live/*"


def test_a_host_goes_down_before_ones_eyes(administrator: BrowserContext, aegis: Instance) -> None:
    """Without a reload: the list has it with its cause, focus stays, and a click leads to the host. On a phone as well.

    When the server is away the page says that what it shows is old, and takes it back. The first steps see the host,
    and are put away.
    """
    name = f"down-{uuid.uuid4().hex[:8]}"
    with opened(administrator, "/admin/", title="Dashboard | Aegis") as page:
        steps = page.get_by_role("region", name="First steps")
        expect(steps.get_by_role("link", name="Add a host")).to_be_visible()
        page.evaluate("window.isSameDocument = true")
        tile = page.get_by_role("link", name="Workers 1 of 1")
        tile.focus()

        check = {"enabled": True, "interval_s": 1, "timeout_s": 0.5, "unhealthy_after": 1}
        upstreams = [{"scheme": "http", "address": "127.0.0.1", "port": 1}]
        aegis.create_host(name=name, domains=[f"{name}.example.com"], upstreams=upstreams, health_check=check)
        problem = page.get_by_role("link", name=f"Down {name} Its upstream fails the checks. Nobody listens")
        expect(problem).to_be_visible()
        expect(page.get_by_role("heading", name=re.compile("(is|are) down$"))).to_be_visible()
        expect(tile).to_be_focused()
        assert page.evaluate("window.isSameDocument")

        page.get_by_text("Numbers", exact=True).click()
        page.get_by_role("link", name="24 hours").click()
        shown = page.get_by_role("img", name="Requests per second in the last 24 hours")
        expect(shown).to_be_visible()
        expect(page.get_by_role("columnheader", name="Failed handshakes")).to_be_visible()

        page.set_viewport_size({"width": 360, "height": 740})
        expect(problem).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

        page.route(LIVE, lambda route: route.abort())
        expect(page.get_by_text("Aegis does not answer. What is shown is of")).to_be_visible()
        page.unroute(LIVE)
        expect(page.get_by_text("Aegis does not answer")).to_be_hidden()

        page.reload()
        expect(shown).to_be_visible()
        expect(steps.get_by_role("listitem").filter(has_text="Add a host")).to_contain_text("done")
        steps.get_by_role("button", name="Put away").click()
        expect(page.get_by_text("The first steps are put away.")).to_be_visible()
        expect(steps).to_be_hidden()
        problem.click()
        expect(page).to_have_url(re.compile("/admin/hosts/host/[0-9a-f-]{36}/change/$"))
