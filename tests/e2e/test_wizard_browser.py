"""A new host, step by step, as a newcomer makes one: a browser, a running Aegis, and real upstreams."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import UPSTREAM_NAME
from tests.support.browser import BROWSER_TESTS, opened
from tests.support.certificates import Authority, Leaf, expired
from tests.support.instance import Instance
from tests.support.nginx import Nginx, seen
from tests.support.plain_upstream import answering
from tests.support.polling import eventually
from tests.support.ports import free_port

pytestmark = BROWSER_TESTS

# What the README promises a newcomer, who reads more slowly than this test.
TWO_MINUTES_S = 120.0


def with_ca(leaf: Leaf, authority: Authority) -> Leaf:
    """A server that sends its CA as well."""
    return Leaf(certificate=leaf.certificate, chain_pem=leaf.chain_pem + authority.pem, key=leaf.key)


@pytest.fixture
def upstream(tmp_path: Path, server_ca: Authority, client_ca: Authority) -> Iterator[Nginx]:
    """It demands a certificate of a CA that is not the local one, until its operator adds that."""
    server = with_ca(server_ca.server(UPSTREAM_NAME), server_ca)
    with Nginx(tmp_path / "good", server=server, client_ca_pem=client_ca.pem, is_reloadable=True) as running:
        yield running


@pytest.fixture
def wizard(administrator: BrowserContext) -> Iterator[Page]:
    """At its first step."""
    with opened(administrator, "/admin/hosts/host/", title="Select host to change | Aegis") as page:
        page.get_by_role("link", name="New host, step by step").first.click()
        expect(page.locator("[aria-current=step]")).to_contain_text("Domains")
        yield page


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def give_upstream(page: Page, url: str) -> None:
    page.get_by_label("Upstream").fill(url)
    button(page, "Continue")
    expect(page.locator("[aria-current=step]")).to_contain_text("Check")


def test_from_the_domain_to_the_first_answer(
    wizard: Page, aegis: Instance, upstream: Nginx, server_ca: Authority, client_ca: Authority
) -> None:
    """In two minutes, with an upstream whose CA, name and demand are unknown at the beginning."""
    page, begun = wizard, time.monotonic()
    page.get_by_label("Domains").fill("wizard.example.com")
    button(page, "Continue")
    give_upstream(page, f"https://127.0.0.1:{upstream.port}")

    findings = page.locator("#findings")
    expect(findings).to_contain_text("It has a certificate of an unknown CA.")
    expect(findings).to_contain_text(
        server_ca.certificate.fingerprint(server_ca.certificate.signature_hash_algorithm).hex()
    )
    button(page, "The fingerprint is right: trust this CA")
    expect(findings).to_contain_text("Its certificate does not hold this IP address.")
    expect(page.get_by_label("Server name")).to_have_value(UPSTREAM_NAME)
    button(page, "Use this server name")
    expect(findings).to_contain_text("It demands a client certificate.")
    expect(findings).to_contain_text("CN=Client CA")
    page.reload()
    expect(findings).to_contain_text("It demands a client certificate.")

    page.get_by_role("link", name="Continue: Certificate").click()
    button(page, "Issue a client certificate")
    expect(page.locator("[aria-current=step]")).to_contain_text("Upstream's side")
    page.locator("#snippet-nginx summary").click()
    expect(page.locator("#snippet-nginx pre")).to_contain_text("ssl_verify_client on;")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    upstream.trust(client_ca.pem + Path(download.value.path()).read_text())  # what its operator does
    button(page, "I have done this: test it")
    expect(findings).to_contain_text("It takes this host's client certificate, and answers (HTTP 200).")
    page.get_by_role("link", name="Continue: Live").click()
    button(page, "Go live")
    expect(page.get_by_role("status").first).to_contain_text("wizard.example.com is served.")
    expect(page.locator("#curl")).to_have_text(
        f"curl -i -H 'Host: wizard.example.com' http://127.0.0.1:{aegis.proxy_port}/"
    )
    assert seen(aegis.proxy("wizard.example.com").body)["subject"] == "CN=wizard.example.com"
    assert time.monotonic() - begun < TWO_MINUTES_S


def test_a_broken_upstream_says_what_is_wrong_and_the_way_goes_on(
    wizard: Page, aegis: Instance, upstream: Nginx, tmp_path: Path, server_ca: Authority
) -> None:
    """Nobody listens; plain HTTP; an expired certificate; a wrong CA; a refused certificate. Back leads back."""
    page = wizard
    page.get_by_label("Domains").fill("broken.example.com")
    button(page, "Continue")
    give_upstream(page, f"127.0.0.1:{free_port()}")
    findings = page.locator("#findings")
    expect(findings).to_contain_text("Nobody listens there.")
    expect(findings).to_contain_text("Start the upstream, or correct its address and port.")
    page.get_by_role("link", name="Correct the upstream").click()

    with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        give_upstream(page, f"https://127.0.0.1:{port}")
        expect(findings).to_contain_text("It speaks no TLS on this port, perhaps plain HTTP.")
        expect(findings).to_contain_text("By plain HTTP no mTLS is possible")
        page.go_back()
        expect(page.get_by_label("Upstream")).to_have_value(f"https://127.0.0.1:{port}")

    over = server_ca.server("127.0.0.1", **expired())
    with Nginx(tmp_path / "over", server=over, client_ca_pem=server_ca.pem) as nginx:
        give_upstream(page, f"https://127.0.0.1:{nginx.port}")
        page.get_by_text("What verifies the upstream").click()
        page.get_by_label("CA Certificate", exact=True).fill(server_ca.pem)
        button(page, "Verify by this")
        expect(findings).to_contain_text("Its certificate has expired.")
        expect(findings).to_contain_text("Renew the upstream's certificate.")

    page.get_by_role("link", name="Upstream", exact=True).click()
    give_upstream(page, f"https://127.0.0.1:{upstream.port}")
    button(page, "Use this server name")
    page.get_by_text("What verifies the upstream").click()
    page.get_by_label("CA Certificate", exact=True).fill(Authority("Wrong CA").pem)
    button(page, "Verify by this")
    expect(findings).to_contain_text("It has a certificate of an unknown CA.")
    button(page, "The fingerprint is right: trust this CA")
    expect(findings).to_contain_text("It demands a client certificate.")

    page.get_by_role("link", name="Continue: Certificate").click()
    button(page, "Issue a client certificate")
    button(page, "I have done this: test it")  # but it was not
    expect(findings).to_contain_text("It refuses this host's client certificate.")
    expect(findings).to_contain_text("Look into the upstream's error log")
    page.get_by_role("link", name="Live", exact=True).click()
    expect(page.get_by_role("button", name="Go live without a passed test")).to_be_visible()
    expect(page.get_by_role("button", name="Go live", exact=True)).to_have_count(0)
    eventually(lambda: aegis.proxy("broken.example.com").status == 404, within_s=5)
