"""`python -m tests.screenshots`: starts an Aegis with a few hosts before real upstreams and photographs its main pages.

The pictures of the README, of always the same size; what they show of times and ports differs from run to run.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from PIL import Image
from playwright.sync_api import Page, ViewportSize

from tests.support.browser import chromium, signed_in
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Instance
from tests.support.nginx import Nginx
from tests.support.polling import eventually

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "images"
DESK: ViewportSize = {"width": 1280, "height": 800}
COLOURS = 128
# Long enough for health checks and traffic to be seen by the pages.
TRAFFIC_S = 90.0

UPSTREAM_CA = Authority("Example Internal CA")
CLIENT_CA = Authority("Example Partner CA")
OTHER_CA = Authority("Example Retired CA")
CHECK = {"enabled": True, "interval_s": 2, "timeout_s": 1, "unhealthy_after": 2}


@dataclass(frozen=True)
class Picture:
    """A page. `{name}` in its path is the id of the host with that name; `click` is pressed before."""

    name: str
    path: str
    theme: str = "light"
    click: str = ""
    shows: str = ""


PICTURES = (
    Picture("dashboard", "/admin/"),
    Picture("dashboard-dark", "/admin/", theme="dark"),
    Picture("hosts", "/admin/hosts/host/"),
    Picture("upstream-tls", "/admin/hosts/host/{orders}/change/#tab-upstream-tls"),
    Picture("connection-test", "/admin/hosts/host/{payments}/change/#tab-upstream-tls", click="Test", shows="Fix"),
    Picture("failures", "/admin/healthchecks/failuregroup/", theme="dark"),
)


def main() -> None:
    """Writes one PNG for each of PICTURES."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        populated(Path(directory)) as (aegis, hosts),
        chromium() as browser,
        signed_in(browser, aegis) as administrator,
    ):
        page = administrator.new_page()
        page.set_viewport_size(DESK)
        for picture in PICTURES:
            take(page, picture, hosts)


@contextmanager
def populated(directory: Path) -> Iterator[tuple[Instance, dict[str, str]]]:
    """An Aegis with hosts that work and hosts that do not, and their ids by name."""
    with ExitStack() as stack:
        upstreams = {
            name: stack.enter_context(
                Nginx(directory / name, server=UPSTREAM_CA.server(f"{name}.internal"), client_ca_pem=trusted.pem)
            )
            for name, trusted in (("orders", CLIENT_CA), ("payments", OTHER_CA), ("ledger", CLIENT_CA))
        }
        aegis = stack.enter_context(Instance(directory / "aegis"))
        hosts = {name: host(aegis, name, nginx) for name, nginx in upstreams.items()}
        aegis.api("PATCH", f"hosts/{hosts['ledger']}", {"upstream_tls": SKIPPED})
        until = time.monotonic() + TRAFFIC_S
        while time.monotonic() < until:
            for name in hosts:
                aegis.proxy(f"{name}.example.com")
        eventually(lambda: aegis.api("GET", "failures").json["count"] > 0, within_s=30)
        yield aegis, hosts


SKIPPED = {
    "skip_verify": True,
    "skip_verify_reason": "its certificate is renewed on Friday",
    "skip_verify_until": "2099-01-01T00:00:00Z",
}


def host(aegis: Instance, name: str, nginx: Nginx) -> str:
    """Makes a host that presents a certificate of the partner's CA; returns its id."""
    identity: Leaf = CLIENT_CA.client(f"{name} client")
    made = aegis.create_host(
        name=name,
        domains=[f"{name}.example.com"],
        upstreams=[{"scheme": "https", "address": "127.0.0.1", "port": nginx.port}],
        upstream_tls={
            "enabled": True,
            "client_certificate": identity.chain_pem,
            "client_key": identity.key_pem,
            "ca_certificate": UPSTREAM_CA.pem,
            "server_name": f"{name}.internal",
        },
        health_check=CHECK,
    )
    return str(made["id"])


def take(page: Page, picture: Picture, hosts: dict[str, str]) -> None:
    """One picture, of few colours: it is to be small."""
    page.emulate_media(color_scheme="dark" if picture.theme == "dark" else "light")
    page.goto("about:blank")  # an address that differs in its fragment only is no other page
    page.goto(picture.path.format(**hosts))
    if picture.click:
        page.get_by_role("button", name=picture.click).first.click()
        page.get_by_text(picture.shows, exact=True).first.wait_for()
        page.get_by_text(picture.shows, exact=True).first.scroll_into_view_if_needed()
    page.evaluate("document.fonts.ready")
    path = DIRECTORY / f"{picture.name}.png"
    page.screenshot(path=path, animations="disabled")
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
