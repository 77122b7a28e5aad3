"""The API's pages in a real browser: nothing but this server is asked, and changes are sent as a client sends them."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, Request, expect
from pytest_django.live_server_helper import LiveServer

from hosts.models import Host
from tests.hosts.examples import make_host
from tests.support.browser import BROWSER_TESTS, PATIENCE_MS, WIDE, chromium

pytestmark = [*BROWSER_TESTS, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Signed in as an administrator. Fails at the end when a script failed or another server was asked."""
    # Playwright's loop runs in this thread; the tests' queries are made here as well, one after the other.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    cookie = client.cookies["aegis_session"].value
    with chromium() as browser:
        page = browser.new_page(base_url=live_server.url, viewport=WIDE)
        page.set_default_timeout(PATIENCE_MS)
        page.context.add_cookies([{"name": "aegis_session", "value": cookie, "url": live_server.url}])
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))

        def note(request: Request) -> None:
            if not request.url.startswith((live_server.url, "data:", "blob:")):
                failures.append(request.url)

        page.on("request", note)
        yield page
    assert failures == []


def test_the_api_is_browsed_and_used(page: Page, live_server: LiveServer) -> None:
    """From the admin's menu to a host, which is changed there; a change from elsewhere is noticed."""
    host = make_host("orders")
    page.goto("/admin/")
    page.locator("a[href='/api/v1/']").first.click()
    page.get_by_role("link", name=f"{live_server.url}/api/v1/hosts").click()
    page.get_by_role("link", name=f"{live_server.url}/api/v1/hosts/{host.pk}").click()
    expect(page.get_by_text('"name": "orders"').first).to_be_visible()

    body = page.get_by_label("Body, as JSON")
    body.fill('{"name": "renamed"}')
    page.get_by_role("button", name="PATCH").click()
    expect(page.get_by_text("200 OK").nth(1)).to_be_visible()
    assert Host.objects.get().name == "renamed"

    Host.objects.update(name="changed elsewhere")
    page.get_by_role("button", name="PATCH").click()
    expect(page.get_by_text("412 Precondition Failed")).to_be_visible()
    assert Host.objects.get().name == "changed elsewhere"


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.soak), "dark"])
def test_the_documentation_opens(page: Page, theme: str) -> None:
    """Swagger UI shows the operations and tries one with the session, in either theme."""
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.goto("/api/v1/docs")
    operation = page.locator("#operations-ca-ca")
    operation.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(operation.get_by_text("there is no local CA yet").first).to_be_visible()
