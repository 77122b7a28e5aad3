"""Certificates of the local CA as an administrator handles them, in Debian's chromium against a running Aegis."""

import zipfile
from pathlib import Path

from cryptography import x509
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import BROWSER_TESTS
from tests.support.instance import Instance

pytestmark = BROWSER_TESTS


def test_a_certificate_is_issued_renewed_and_revoked(page: Page, aegis: Instance, tmp_path: Path) -> None:
    """Issue: a download with the key. Renew: another one. Revoke: a dialog with a reason; the public list names it."""
    page.goto("/admin/localca/issuedcertificate/add/")
    page.get_by_role("button", name="Issue and download").click()
    expect(page.get_by_text("Enter a common name.")).to_be_visible()
    page.get_by_label("Common name").fill("browser client")
    page.get_by_label("Note").fill("issued in a browser")
    with page.expect_download() as download:
        page.get_by_role("button", name="Issue and download").click()
    issued = _certificate_in(Path(download.value.path()))

    page.goto("/admin/localca/issuedcertificate/")
    page.get_by_role("link", name="CN=browser client").click()
    editor = page.url
    page.get_by_role("link", name="Renew").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Renew and download").click()
    assert _certificate_in(Path(download.value.path())).subject == issued.subject

    page.goto(editor)
    page.get_by_role("link", name="Revoke").click()
    dialog = page.locator("#dialog")
    expect(dialog.get_by_text("This cannot be undone")).to_be_visible()
    dialog.get_by_label("Reason").select_option("keyCompromise")
    dialog.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Revoked CN=browser client.")).to_be_visible()
    expect(page.get_by_role("link", name="Revoke")).to_have_count(0)

    published = x509.load_der_x509_crl(aegis.web("/api/v1/ca/crl").body)
    assert published.get_revoked_certificate_by_serial_number(issued.serial_number) is not None


def test_a_stranger_sees_nothing_of_it(browser: Browser, aegis: Instance) -> None:
    """Without signing in, the form for certificates is not shown."""
    stranger = browser.new_page(base_url=f"http://127.0.0.1:{aegis.web_port}")
    stranger.goto("/admin/localca/issuedcertificate/add/")
    expect(stranger.get_by_label("Password")).to_be_visible()
    stranger.close()


def _certificate_in(path: Path) -> x509.Certificate:
    """The certificate of a downloaded zip, which has a key beside it."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.startswith("aegis-client") and name.endswith(".crt")]
        assert archive.read(name.replace(".crt", ".key")).startswith(b"-----BEGIN PRIVATE KEY-----")
        return x509.load_pem_x509_certificate(archive.read(name))
