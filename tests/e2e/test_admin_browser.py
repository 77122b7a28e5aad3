"""The admin as a person uses it: Debian's chromium against a running Aegis."""

from playwright.sync_api import Page, expect

from tests.support.browser import BROWSER_TESTS, open_tab
from tests.support.certificates import Authority
from tests.support.polling import eventually

pytestmark = BROWSER_TESTS

CA = Authority("Orders CA")
LEAF = CA.client("orders client")
OTHER_LEAF = CA.client("another client")


def test_a_host_with_mtls_is_set_up_in_the_browser(page: Page) -> None:
    """Wrong key: error at the field, nothing lost. Right key, then a certificate from the local CA, and the badges."""
    page.goto("/admin/hosts/host/add/")
    page.get_by_label("Name*", exact=True).fill("orders")
    page.get_by_label("Domains*").fill("orders.example.com, *.orders.example.com")
    open_tab(page, "Upstreams")
    page.locator("[name=upstreams-0-address]").fill("127.0.0.1")
    page.locator("[name=upstreams-0-port]").fill("9443")
    page.get_by_text("Add another Upstream").click()
    page.locator("[name=upstreams-1-address]").fill("127.0.0.2")
    open_tab(page, "Upstream TLS")
    page.get_by_label("Enable mTLS").check()
    page.get_by_label("Client Certificate").fill(LEAF.chain_pem)
    page.get_by_label("Client Key", exact=True).fill(OTHER_LEAF.key_pem)
    save(page)
    expect(page.get_by_text("tls: private key does not match public key")).to_be_visible()

    # The right key, but another error: the key is kept without being shown.
    page.get_by_label("Client Key", exact=True).fill(LEAF.key_pem)
    page.get_by_label("Server Name Override").fill("not a name")
    save(page)
    expect(page.get_by_text("'not a name' is not a DNS name.")).to_be_visible()
    expect(page.get_by_text("The key you pasted is kept")).to_be_visible()
    expect(page.get_by_label("Client Key", exact=True)).to_have_value("")
    assert LEAF.key_pem.splitlines()[1] not in page.content()

    page.get_by_label("Server Name Override").fill("orders.internal")
    page.get_by_label("Skip TLS Verification").check()
    save(page)
    expect(page.get_by_text("A key is stored")).to_be_visible()
    expect(page.locator("#tab-upstream-tls").get_by_text("CN=orders client")).to_be_visible()
    expect(page.get_by_text("TLS not verified")).to_be_visible()
    assert [page.locator(f"[name=upstreams-{row}-address]").input_value() for row in (0, 1)] == [
        "127.0.0.1",
        "127.0.0.2",
    ]

    page.get_by_role("button", name="Save and issue client certificate").click()
    expect(page.get_by_text("Issued the client certificate CN=orders.example.com")).to_be_visible()
    assert "PRIVATE KEY" not in page.content()

    page.goto("/admin/hosts/host/")
    row = page.get_by_role("row").filter(has_text="orders.example.com")
    expect(row.get_by_text("mTLS", exact=True)).to_be_visible()
    expect(row.get_by_text("TLS not verified", exact=True)).to_be_visible()


def test_the_worker_says_in_the_editor_that_it_accepted_the_host(page: Page) -> None:
    """A saved host is live, and the page says so. Another time of its health loses nothing that was typed."""
    page.goto("/admin/hosts/host/add/")
    page.get_by_label("Name*", exact=True).fill("plain")
    page.get_by_label("Domains*").fill("plain.example.com")
    open_tab(page, "Upstreams")
    page.locator("[name=upstreams-0-address]").fill("127.0.0.1")
    open_tab(page, "Health")
    page.locator("[name=health_check-0-enabled]").check()
    save(page)
    editor = page.url.partition("#")[0]

    def accepted() -> bool:
        page.goto(editor)
        return page.get_by_text("Accepted", exact=True).count() == 1

    eventually(accepted, within_s=15, every_s=0.2)
    page.get_by_label("Domains*").fill("not-saved.example.com")
    open_tab(page, "Health")
    for name in ("7 days", "30 days", "24 hours"):
        ranges = page.get_by_role("navigation", name="Time shown")
        ranges.get_by_role("link", name=name).click()
        expect(ranges.locator("[aria-current=true]")).to_have_text(name)
    expect(page.get_by_label("Domains*")).to_have_value("not-saved.example.com")
    assert page.url == f"{editor}#tab-health"


def test_the_trust_bundle_is_downloaded_from_settings(page: Page) -> None:
    """The sidebar leads there."""
    page.get_by_role("link", name="Settings").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download trust bundle").click()
    assert download.value.suggested_filename.endswith(".zip")


def save(page: Page) -> None:
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state()
