"""The logs as a person reads them: chromium against a running Aegis, whose worker writes them."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import HostDocument
from tests.support.browser import BROWSER_TESTS
from tests.support.certificates import Authority
from tests.support.instance import Instance
from tests.support.polling import eventually

pytestmark = BROWSER_TESTS

STRANGER = Authority("A CA that nobody trusts here")


def test_new_lines_come_by_themselves_and_an_id_leads_to_the_diagnosis(
    page: Page, aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """Followed over a rotation, paused, filtered; from the client's 502 to cause and fix."""
    document = host_document(client_ca.client("logged"))
    document["upstream_tls"]["ca_certificate"] = STRANGER.pem
    host = aegis.create_host(**document)
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain, "/first").status == 502, within_s=10)
    page.goto(f"/admin/hosts/host/{host['id']}/change/")
    page.locator(f"a[href='/admin/hosts/host/{host['id']}/logs/']").click()
    expect(page).to_have_title(re.compile(f"^Logs of {host['name']}"))
    lines = page.locator("tr[data-key]")
    expect(lines.first).to_contain_text("/first")

    page.get_by_role("button", name="Follow").click()
    answer = aegis.proxy(domain, "/<b>second</b>?q=%22")
    expect(lines.first).to_contain_text("/<b>second</b>?q=%22")
    expect(lines.first).to_contain_text("unknown_authority")
    log = aegis.data_dir / "access-log" / f"{host['name']}.log"
    log.rename(f"{log}.1")
    aegis.proxy(domain, "/rotated")
    expect(lines.first).to_contain_text("/rotated")
    expect(page.locator("tr", has_text="/rotated")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()

    page.get_by_label("Path contains").fill("second")
    page.get_by_role("button", name="Show").click()
    expect(lines).to_have_count(1)

    # What the client was told.
    told = dict(answer.headers)["X-Request-ID"]
    assert f"request id: {told}" in answer.body.decode()
    page.get_by_label("Request ID").first.fill(told)
    page.get_by_role("button", name="Find").click()
    expect(page.locator("[data-lg-answer='502']")).to_contain_text(document["upstreams"][0]["address"])
    failure = page.locator("[data-lg-failure='unknown_authority']")
    expect(failure).to_contain_text("Nobody who is trusted here has signed the upstream's certificate.")
    expect(failure).to_contain_text("Fix")
    failure.get_by_role("link", name="Test Connection").click()
    expect(page).to_have_url(re.compile("#connection-test$"))
    found = aegis.api("GET", f"logs/{told}").json
    assert [line["status"] for line in found["answers"]] == [502]
    assert aegis.api("DELETE", f"hosts/{host['id']}").status == 204
