"""Accounts as people use them: a second factor, recovery codes, locks and sessions, in several browsers."""

import re
import time
from collections.abc import Iterator

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browser import BROWSER_TESTS, PATIENCE_MS, WIDE
from tests.support.instance import Instance
from tests.support.polling import eventually

pytestmark = BROWSER_TESTS

PASSWORD = "correct horse battery"
TWO_FACTOR = "/admin/two-factor/"


@pytest.fixture
def browsers(browser: Browser, aegis: Instance) -> Iterator[list[BrowserContext]]:
    """Two of the same person, with nobody signed in."""
    contexts = [browser.new_context(base_url=f"http://127.0.0.1:{aegis.web_port}", viewport=WIDE) for _ in range(2)]
    for context in contexts:
        context.set_default_timeout(PATIENCE_MS)
    yield contexts
    for context in contexts:
        context.close()


def add_user(administrator: BrowserContext, name: str) -> None:
    page = administrator.new_page()
    page.goto("/admin/auth/user/add/")
    page.get_by_label("Username*").fill(name)
    page.locator("[name=role]").select_option("administrator")
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    page.close()


def enter_password(page: Page, name: str, word: str = PASSWORD) -> None:
    page.goto("/admin/login/?next=/admin/settings/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(word)
    page.get_by_role("button", name="Log in").click()


def enter_code(page: Page, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_second_factor(administrator: BrowserContext, browsers: list[BrowserContext]) -> None:
    """Set up from the menu, then signed in with a code and with a recovery code; the other browser is signed out."""
    add_user(administrator, "grace")
    page, other = (context.new_page() for context in browsers)
    for each in (page, other):
        enter_password(each, "grace")
        expect(each).to_have_url(re.compile("/admin/settings/$"))
    page.get_by_text("grace", exact=True).last.click()
    page.get_by_role("link", name="Two-factor sign-in").click()
    page.get_by_role("button", name="Set up two-factor sign-in").click()
    expect(page.locator(".two-factor-picture svg")).to_be_visible()
    totp = pyotp.TOTP(page.locator("[data-secret]").inner_text().replace(" ", ""))
    page.get_by_label("Code from the app").fill("000")
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("This is not the code of now.")).to_be_visible()
    first = totp.now()
    page.get_by_label("Code from the app").fill(first)
    page.get_by_role("button", name="Turn on").click()
    codes = page.locator("[data-codes]").inner_text().split()
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("10 recovery codes are left.")).to_be_visible()
    other.goto("/admin/settings/")
    expect(other).to_have_url(re.compile("/admin/login/"))

    page.get_by_text("grace", exact=True).last.click()
    page.get_by_role("button", name="Log out").click()
    enter_password(page, "grace")
    enter_code(page, first)
    expect(page.get_by_text("was used before")).to_be_visible()
    page.goto("/admin/settings/")
    expect(page).to_have_url(re.compile("/admin/login/"))
    enter_password(page, "grace")
    # The code of the next step is within the drift, so nobody waits for it.
    enter_code(page, totp.at(int(time.time()) + 30))
    expect(page).to_have_url(re.compile("/admin/settings/$"))
    enter_password(other, "grace")
    enter_code(other, codes[0])
    expect(other.get_by_text("9 are left.")).to_be_visible()


def test_a_session_is_ended_from_another_browser(administrator: BrowserContext, browsers: list[BrowserContext]) -> None:
    """The list says which is which."""
    add_user(administrator, "heidi")
    page, other = (context.new_page() for context in browsers)
    for each in (page, other):
        enter_password(each, "heidi")
        expect(each).to_have_url(re.compile("/admin/settings/$"))
    page.goto("/admin/sessions/")
    expect(page.get_by_role("cell", name="Chrome on Linux")).to_have_count(2)
    expect(page.get_by_text("This session")).to_have_count(1)
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_text("has ended.")).to_be_visible()
    expect(page.get_by_role("cell", name="Chrome on Linux")).to_have_count(1)
    other.goto("/admin/")
    expect(other).to_have_url(re.compile("/admin/login/"))


def test_a_lock_says_until_when_and_is_ended(administrator: BrowserContext, browsers: list[BrowserContext]) -> None:
    """By an administrator, on the page of locked sign-ins."""
    add_user(administrator, "ivan")
    page = browsers[0].new_page()
    for _ in range(5):
        enter_password(page, "ivan", "wrong")
        page.wait_for_load_state()
    expect(page.get_by_text("Sign-in is locked")).to_be_visible()
    expect(page.get_by_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"))).to_be_visible()
    admin = administrator.new_page()
    admin.goto("/admin/sign-in-locks/")
    admin.get_by_role("row").filter(has_text="ivan").get_by_role("button", name="Unlock").click()
    expect(admin.get_by_text("Unlocked.")).to_be_visible()
    admin.close()

    def signed_in() -> bool:
        enter_password(page, "ivan")
        return page.url.endswith("/admin/settings/")

    eventually(signed_in, within_s=10)
