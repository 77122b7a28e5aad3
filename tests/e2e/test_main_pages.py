"""Every main page of the admin in a browser: for people who see little or use no mouse, in the dark, on a phone, and
that nothing is asked of anybody else.

axe-core says what WCAG 2 A and AA demand and a page lacks; what it calls serious or critical fails.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, ViewportSize

from tests.e2e.conftest import HostDocument
from tests.support.browser import BROWSER_TESTS, opened
from tests.support.certificates import Authority
from tests.support.instance import Instance
from tests.support.polling import eventually

pytestmark = BROWSER_TESTS

PAGES = {
    "dashboard": "/admin/",
    "hosts": "/admin/hosts/host/",
    "new host, step by step": "/admin/hosts/host/set-up/",
    "step by step": "/admin/hosts/host/{host}/set-up/check/",
    "new host": "/admin/hosts/host/add/",
    "host": "/admin/hosts/host/{host}/change/",
    "history of a host": "/admin/hosts/host/{host}/history/",
    "server side": "/admin/hosts/host/{host}/upstream-setup/",
    "client certificate": "/admin/hosts/host/{host}/client-certificate/",
    "rotations": "/admin/hosts/host/{host}/rotations/",
    "logs of a host": "/admin/hosts/host/{host}/logs/",
    "logs": "/admin/hosts/host/logs/",
    "posture": "/admin/hosts/host/posture/",
    "expiry": "/admin/hosts/host/expiry/",
    "what if": "/admin/hosts/host/what-if/",
    "import and export": "/admin/hosts/host/exchange/",
    "failures": "/admin/healthchecks/failuregroup/",
    "workers": "/admin/hosts/proxyworker/",
    "local CA": "/admin/localca/certificateauthority/",
    "CA": "/admin/localca/certificateauthority/{authority}/change/",
    "issued certificates": "/admin/localca/issuedcertificate/",
    "issue": "/admin/localca/issuedcertificate/add/",
    "channels": "/admin/notifications/channel/",
    "new channel": "/admin/notifications/channel/add/",
    "messages": "/admin/notifications/delivery/",
    "maintenance": "/admin/notifications/maintenancewindow/",
    "events": "/admin/notifications/notedevent/",
    "settings": "/admin/settings/",
    "API tokens": "/admin/access/apitoken/",
    "new API token": "/admin/access/apitoken/add/",
    "users": "/admin/auth/user/",
    "sessions": "/admin/sessions/",
    "all sessions": "/admin/sessions/all/",
    "two-factor": "/admin/two-factor/",
    "locked sign-ins": "/admin/sign-in-locks/",
    "audit": "/admin/audit/auditentry/",
    "change of password": "/admin/password_change/",
    "API": "/api/v1/",
}
SERIOUS = {"serious", "critical"}
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
PHONE: ViewportSize = {"width": 400, "height": 800}
# What is wider than the window, but for what scrolls within itself.
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def paths(aegis: Instance, host_document: HostDocument, client_ca: Authority) -> dict[str, str]:
    """The addresses, in an Aegis in which there is something to show."""
    host = aegis.create_host(
        **host_document(
            client_ca.client("shown"),
            upstreams=[{"scheme": "https", "address": "127.0.0.1", "port": 1}],
            health_check={"enabled": True, "interval_s": 1, "timeout_s": 0.5, "unhealthy_after": 1},
        )
    )["id"]
    aegis.api("PATCH", f"hosts/{host}", {"upstream_tls": {"skip_verify": True, "skip_verify_reason": "a test"}})
    authority = aegis.api("GET", "ca").json["id"]
    eventually(lambda: aegis.api("GET", "failures").json["count"] > 0, within_s=30)
    return {name: path.format(host=host, authority=authority) for name, path in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, administrator: BrowserContext, paths: dict[str, str], aegis: Instance) -> None:
    """In the light and in the dark, and on a phone."""
    with opened(administrator, paths[name]) as page:
        elsewhere: list[str] = []
        page.on("request", lambda request: elsewhere.append(request.url))
        page.reload(wait_until="load")
        assert serious_findings(page) == []
        page.emulate_media(color_scheme="dark")
        assert serious_findings(page) == []
        page.set_viewport_size(PHONE)
        assert page.evaluate(TOO_WIDE) <= 0
        here = (f"http://127.0.0.1:{aegis.web_port}/", "data:")
        assert [url for url in elsewhere if not url.startswith(here)] == []


def serious_findings(page: Page) -> list[str]:
    """Rule, help and the elements in question, a line each."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{finding['id']} ({finding['impact']}): {finding['help']}: {node['html'][:300]} {node['failureSummary']}"
        for finding in found
        if finding["impact"] in SERIOUS
        for node in finding["nodes"][:3]
    ]
