"""Debian's chromium, driven by Playwright, and the admin in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.support.instance import ADMIN_PASSWORD, Instance

# Without the parts of a window each page takes a third of the time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or ""
WIDE: ViewportSize = {"width": 1440, "height": 1000}
PATIENCE_MS = 15_000

# The marks of a module whose tests need it. Under CI a missing browser fails.
BROWSER_TESTS = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM and os.environ.get("CI") != "true",
        reason="no chromium: apt-get install chromium-headless-shell, or run as root",
    ),
]


# An assertion waits as long as everything else does.
expect.set_options(timeout=PATIENCE_MS)

_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    # One process for all pages, and none in reserve: each costs half a second of CPU.
    *("--renderer-process-limit=1", "--disable-features=SpareRendererForSitePerProcess"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without history."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def signed_in(browser: Browser, aegis: Instance) -> Iterator[BrowserContext]:
    """An administrator's browser, for any number of pages."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{aegis.web_port}", viewport=WIDE)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")
    page.close()
    yield context
    context.close()


def open_tab(page: Page, name: str) -> None:
    """A tab of the host editor."""
    page.get_by_role("tab", name=name, exact=True).click()


@contextmanager
def opened(administrator: BrowserContext, path: str, *, title: str = "") -> Iterator[Page]:
    """A page of the admin. Fails at the end when a script failed, or the browser refused something by its policy."""
    page = administrator.new_page()
    script_errors: list[str] = []
    page.on("pageerror", lambda error: script_errors.append(str(error)))
    page.on("console", lambda message: script_errors.extend([message.text] * ("Content Security" in message.text)))
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 200, path
    if title:
        expect(page).to_have_title(title)
    yield page
    page.close()
    assert script_errors == []
