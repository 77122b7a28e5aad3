"""Test Connection as a person uses it: Debian's chromium against a running Aegis."""

import re
import socket
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import HostDocument
from tests.support.browser import BROWSER_TESTS
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Instance

PHONE_WIDTH = 390

pytestmark = BROWSER_TESTS


@pytest.fixture
def leaf(client_ca: Authority) -> Leaf:
    return client_ca.client("orders client")


def open_editor(page: Page, host: dict[str, Any]) -> None:
    page.goto(f"/admin/hosts/host/{host['id']}/change/#tab-upstream-tls")


def run_test(page: Page) -> None:
    button = page.get_by_role("button", name="Test Connection")
    button.click()
    expect(button).to_be_enabled()


def test_unsaved_values_are_tested(
    page: Page, aegis: Instance, host_document: HostDocument, client_ca: Authority, server_ca: Authority
) -> None:
    """A wrong CA fails with a link to its field; the right one and a pasted key work; nothing was saved."""
    leaf = client_ca.client("orders client")
    host = aegis.create_host(**host_document())
    open_editor(page, host)
    results = page.locator("[data-ct-results]")
    page.get_by_label("CA Certificate", exact=True).fill(client_ca.pem)
    run_test(page)
    expect(results).to_contain_text("x509: certificate signed by unknown authority")
    expect(results).to_contain_text("values that were not saved")
    page.get_by_role("link", name="Go to CA Certificate").click()
    expect(page.get_by_label("CA Certificate", exact=True)).to_be_focused()
    expect(page.get_by_label("CA Certificate", exact=True)).to_have_class(re.compile("ct-found"))

    page.get_by_label("CA Certificate", exact=True).fill(server_ca.pem)
    page.get_by_label("Enable mTLS").check()
    page.get_by_label("Client Certificate", exact=True).fill(leaf.chain_pem)
    page.get_by_label("Client Key", exact=True).fill(leaf.key_pem)
    run_test(page)
    expect(results).to_contain_text("Works")
    expect(results).to_contain_text("status 200")
    assert aegis.api("GET", f"hosts/{host['id']}").json["upstream_tls"]["client_key_set"] is False


def test_values_that_cannot_be_tested_lead_to_their_fields(
    page: Page, aegis: Instance, host_document: HostDocument
) -> None:
    """All of them in the panel, and what was typed stays."""
    open_editor(page, aegis.create_host(**host_document()))
    page.get_by_label("CA Certificate", exact=True).fill("no PEM")
    page.get_by_label("Server Name Override").fill("not a name")
    run_test(page)
    results = page.locator("[data-ct-results]")
    expect(results).to_contain_text("'not a name' is not a DNS name.")
    results.get_by_role("link", name="CA Certificate").click()
    expect(page.get_by_label("CA Certificate", exact=True)).to_be_focused()
    expect(page.get_by_label("CA Certificate", exact=True)).to_have_value("no PEM")


def test_the_progress_names_the_upstream_and_counts(page: Page, aegis: Instance, host_document: HostDocument) -> None:
    """While the upstream says nothing; the button waits as well."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        open_editor(page, aegis.create_host(**host_document(upstreams=[{"address": "127.0.0.1", "port": port}])))
        page.get_by_role("button", name="Test Connection").click()
        expect(page.get_by_role("button", name="Test Connection")).to_be_disabled()
        expect(page.locator("[data-ct-status]")).to_have_text(f"Testing upstream 127.0.0.1:{port} …")
        expect(page.locator("[data-ct-clock]")).to_have_text(re.compile(r"^2\.\d s$"))
        expect(page.locator("[data-ct-results]")).to_contain_text("i/o timeout")
    expect(page.get_by_role("button", name="Test Connection")).to_be_enabled()


def test_save_and_test_shows_the_result_of_what_was_saved(
    page: Page, aegis: Instance, host_document: HostDocument, leaf: Leaf
) -> None:
    """Back in the editor the test runs before one's eyes; afterwards the list has its outcome."""
    host = aegis.create_host(**host_document(leaf))
    open_editor(page, host)
    page.locator("#connection-test").get_by_role("button", name="Save & test").click()
    page.wait_for_url("**/change/#connection-test")
    results = page.locator("[data-ct-results]")
    expect(results).to_contain_text("Works")
    expect(results).not_to_contain_text("not saved")
    page.goto("/admin/hosts/host/")
    expect(page.get_by_role("row").filter(has_text=host["name"])).to_contain_text("OK")


def test_save_and_test_works_without_its_script(
    page: Page, aegis: Instance, host_document: HostDocument, leaf: Leaf
) -> None:
    """The buttons that need it stay hidden, and the result is in the page that comes back."""
    page.route("**/connection_test.js", lambda route: route.abort())
    open_editor(page, aegis.create_host(**host_document(leaf)))
    expect(page.get_by_role("button", name="Test Connection")).to_have_count(0)
    page.get_by_role("button", name="Save & test").click()
    page.wait_for_url("**/change/#connection-test")
    expect(page.locator("[data-ct-results]")).to_contain_text("Works")


def test_a_phone_shows_it_without_sideways_scrolling(
    browser: Browser, administrator: BrowserContext, aegis: Instance, host_document: HostDocument, leaf: Leaf
) -> None:
    """With a chain and all fingerprints."""
    host = aegis.create_host(**host_document(leaf))
    answer = aegis.api("POST", f"hosts/{host['id']}/test-upstream-tls", {})
    assert answer.json["chain"]
    phone = browser.new_context(
        base_url=f"http://127.0.0.1:{aegis.web_port}",
        storage_state=administrator.storage_state(),
        viewport={"width": PHONE_WIDTH, "height": 844},
        is_mobile=True,
    )
    page = phone.new_page()
    open_editor(page, host)
    expect(page.locator("[data-ct-results] article")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
    phone.close()
