"""Debian's chromium, driven by Playwright, and the admin in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.instance import ADMIN_PASSWORD, Instance

CHROMIUM = shutil.which("chromium") or ""
WIDE = {"width": 1440, "height": 1000}
PATIENCE_MS = 15_000

# The marks of a module whose tests need it. Under CI a missing browser fails.
BROWSER_TESTS = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM and os.environ.get("CI") != "true", reason="no chromium: apt-get install chromium, or run as root"
    ),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without history."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def signed_in(browser: Browser, aegis: Instance, *, path: str = "/admin/hosts/host/", **options: Any) -> Page:
    """A new page of an administrator, at `path`."""
    page = browser.new_page(base_url=f"http://127.0.0.1:{aegis.web_port}", **options)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"/admin/login/?next={path}")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()
    return page


@contextmanager
def admin_page(browser: Browser, aegis: Instance, *, path: str, title: str) -> Iterator[Page]:
    """A wide page of an administrator. Fails at the end when a script of the admin failed."""
    page = signed_in(browser, aegis, path=path, viewport=WIDE)
    script_errors: list[str] = []
    page.on("pageerror", lambda error: script_errors.append(str(error)))
    page.reload()
    expect(page).to_have_title(title)
    yield page
    page.close()
    assert script_errors == []
