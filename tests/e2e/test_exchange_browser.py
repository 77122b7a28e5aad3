"""Hosts out of one installation and into it again, by a person with a browser."""

from pathlib import Path

from playwright.sync_api import Page, expect

from hosts.exchange.reading import Format, read_document, write_document
from tests.support.browser import BROWSER_TESTS

pytestmark = BROWSER_TESTS

PASSPHRASE = "correct horse battery staple"


def test_export_change_and_import(page: Page, tmp_path: Path) -> None:
    """Download with sealed keys, look at what a changed file would do, confirm, and find it done."""
    page.goto("/admin/hosts/host/")
    page.get_by_role("link", name="Export / Import").click()
    page.get_by_label("Passphrase").first.fill(PASSPHRASE)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download with sealed keys").click()
    document = read_document(Path(download.value.path()).read_bytes(), Format.YAML)
    document["hosts"].append(
        {"name": "imported", "domains": ["imported.example.com"], "upstreams": [{"address": "10.0.0.9"}]}
    )
    file = tmp_path / "hosts.yaml"
    file.write_text(write_document(document, Format.YAML))

    page.locator("[name=hosts_document]").set_input_files(file)
    page.locator("[name=passphrase]").fill(PASSPHRASE)
    page.get_by_role("button", name="Show what would change").click()
    expect(page.locator("#summary")).to_contain_text("1 created")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Imported: 1 created")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="imported.example.com")).to_be_visible()
