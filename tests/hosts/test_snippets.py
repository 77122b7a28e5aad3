"""Snippets hold this host's facts, and nothing that an operator typed can become configuration."""

import json
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from hosts.models import Host
from hosts.services import install_issued_certificate
from hosts.snippets import Snippet, setup_for, snippets_for
from hosts.snippets.identity import identity_of
from hosts.specs import UpstreamSpec
from localca.selectors import active_authority
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.support.certificates import Authority, Leaf
from tests.support.peers import program

pytestmark = pytest.mark.django_db

SERVERS = ["nginx", "haproxy", "caddy", "apache", "envoy", "traefik", "node", "go", "python"]

HOSTILE_NAMES = [
    'orders"; } http { server { listen 1',
    "orders'\\",
    "a{b}c<VirtualHost>`$(id)`${PATH}{{x}}{%y%}",
    "*/ // # -- @orders <!--",
    "ordérs \N{SNOWMAN} 注文",
    "line one\nline two\r\nline three\u2028line four\u2029line five\x85line six\x0bline seven",
    "right to left \u202e and zero width \u200b and NUL \x00",
]


def named(name: str) -> Host:
    """A stored host with mTLS; the name is written past all validation."""
    host = make_host(f"host-{uuid.uuid4().hex[:8]}", upstream_tls=mtls(server_name="backend.internal"))
    Host.objects.filter(pk=host.pk).update(name=name)
    return Host.objects.with_configuration().get(pk=host.pk)


def texts(host: Host) -> dict[str, str]:
    return {snippet.server: snippet.text for snippet in snippets_for(host)}


def test_there_is_a_snippet_for_every_server() -> None:
    """In the order of the page, each with a title, a file to put it into, and how it pins."""
    snippets = snippets_for(make_host(upstream_tls=mtls()))
    assert [snippet.server for snippet in snippets] == SERVERS
    assert all(snippet.title and snippet.file_name and snippet.pinned_by for snippet in snippets)
    assert all(snippet.text.endswith("\n") and not snippet.text.endswith("\n\n") for snippet in snippets)


@pytest.mark.parametrize("server", SERVERS)
def test_a_snippet_pins_the_certificate_behind_its_ca(server: str) -> None:
    """By fingerprint, serial number or file; the CA is demanded as well, except where the certificate is the anchor."""
    text = texts(make_host(upstream_tls=mtls()))[server]
    fingerprint = LEAF.certificate.fingerprint(hashes.SHA256()).hex()
    serial = f"{LEAF.certificate.serial_number:X}"
    pins = {
        "nginx": LEAF.certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 (as in the snippet)
        "caddy": "/etc/caddy/aegis/orders-client.crt",
        "apache": f"== '{serial.zfill(len(serial) + len(serial) % 2)}'",
        "traefik": "/etc/traefik/aegis/orders-client.crt",
        "node": ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2)).upper(),
    }
    assert pins.get(server, fingerprint) in text
    assert server == "traefik" or "orders-client-ca.crt" in text


def test_ports_and_names_are_those_of_the_https_upstreams() -> None:
    """Each once, in order; plain http has no part in it, and an address is no server name."""
    upstreams = (
        UpstreamSpec(address="a.internal", port=9443),
        UpstreamSpec(address="b.internal", port=9444),
        UpstreamSpec(address="10.0.0.7", port=9443),
        UpstreamSpec(address="::1", port=9443),
        UpstreamSpec(address="c.internal", port=8080, scheme="http"),
    )
    found = texts(make_host(upstreams=upstreams, upstream_tls=mtls()))
    assert "    listen 9443 ssl;\n    listen 9444 ssl;\n    server_name a.internal b.internal;\n" in found["nginx"]
    assert "https://:9443, https://:9444 {" in found["caddy"]
    assert "<VirtualHost *:9443 *:9444>\n    ServerName a.internal\n" in found["apache"]
    assert "for (const port of [9443, 9444])" in found["node"]
    assert found["envoy"].count("port_value: 944") == 2
    for server in ("traefik", "go", "python"):
        assert "The other ports (9444) need a copy each." in found[server]
    assert not any("8080 ssl" in text or "c.internal" in text for text in found.values())


def test_the_server_name_override_is_the_name() -> None:
    """It is what the upstreams are asked for, whatever their address."""
    found = texts(make_host(upstream_tls=mtls(server_name="orders.internal")))
    assert "server_name orders.internal;" in found["nginx"]
    assert "ServerName orders.internal" in found["apache"]


def test_a_host_without_names_and_https_upstreams_still_gets_complete_snippets() -> None:
    """Port 443 stands in, no name is given, and a note says so."""
    host = make_host(upstreams=(), upstream_tls=mtls())
    assert "listen 443 ssl;\n    server_name _;" in texts(host)["nginx"]
    assert "ServerName" not in texts(host)["apache"]
    setup = setup_for(host)
    assert setup is not None
    assert "This host has no https upstream: port 443 stands in for it." in setup.notes


def test_a_host_without_certificate_has_none() -> None:
    """There is nothing to require."""
    host = make_host()
    assert (snippets_for(host), setup_for(host)) == ((), None)


def test_a_certificate_that_is_not_presented_is_said() -> None:
    """With mTLS off the upstream would refuse the host."""
    setup = setup_for(make_host(upstream_tls=mtls(enabled=False)))
    assert setup is not None
    assert setup.notes[0] == "mTLS is off for this host: enable it, or these upstreams will refuse it."


# The CA file


def test_the_local_ca_is_handed_over_under_its_own_name() -> None:
    """The file is the one that the trust bundle has."""
    host = make_host()
    install_issued_certificate(host=host, user=None)
    setup = setup_for(Host.objects.with_configuration().get(pk=host.pk))
    authority = active_authority()
    assert setup is not None
    assert authority is not None
    assert (setup.files[0].file_name, setup.files[0].text) == ("aegis-local-ca.crt", authority.certificate_pem)
    assert all("aegis-local-ca.crt" in snippet.text for snippet in setup.snippets if snippet.server != "traefik")


def test_a_ca_that_serves_both_directions_is_handed_over() -> None:
    """A third-party root that the host has for its upstreams needs nobody to be asked."""
    other = Authority("Other CA")
    setup = setup_for(make_host(upstream_tls=mtls(ca_certificate=other.pem + CA.pem)))
    assert setup is not None
    assert (setup.files[0].file_name, setup.files[0].text, setup.files[0].note) == ("orders-client-ca.crt", CA.pem, "")


def test_a_self_signed_client_certificate_is_its_own_ca() -> None:
    """There is nothing above it."""
    pair = self_signed("orders")
    setup = setup_for(make_host(upstream_tls=mtls(client_certificate=pair.chain_pem, client_key=pair.key_pem)))
    assert setup is not None
    assert setup.files[0].text == setup.files[1].text == pair.chain_pem


def test_an_intermediate_is_no_trust_anchor() -> None:
    """OpenSSL wants a root: an intermediate in the host's CA bundle does not pass for one."""
    intermediate = Authority("Orders Issuing CA", parent=Authority("Corporate Root"))
    leaf = intermediate.client("orders")
    tls = mtls(client_certificate=leaf.chain_pem.split("-----END")[0] + "-----END CERTIFICATE-----\n")
    tls = replace(tls, client_key=leaf.key_pem, ca_certificate=intermediate.pem)
    setup = setup_for(make_host(upstream_tls=tls))
    assert setup is not None
    assert setup.files[0].text == ""


def test_a_ca_that_aegis_does_not_have_is_named() -> None:
    """The note names the issuer of the topmost certificate, which is what to look for."""
    intermediate = Authority("Orders Issuing CA", parent=Authority("Corporate Root"))
    leaf = intermediate.client("orders")
    chain = pem_of(leaf, intermediate)
    setup = setup_for(make_host(upstream_tls=mtls(client_certificate=chain, client_key=leaf.key_pem)))
    assert setup is not None
    assert setup.files[0].text == ""
    assert 'Get the root certificate above "CN=Corporate Root"' in setup.files[0].note
    assert setup.files[0].note in setup.notes
    assert "ssl_verify_depth 2;" in setup.snippets[0].text


def test_a_ca_of_the_same_name_is_not_mistaken_for_the_local_ca() -> None:
    """The signature decides, not the name."""
    install_issued_certificate(host=make_host("first"), user=None)
    authority = active_authority()
    assert authority is not None
    impostor = Authority(str(authority))
    leaf = impostor.client("orders")
    setup = setup_for(
        make_host("second", upstream_tls=mtls(client_certificate=leaf.chain_pem, client_key=leaf.key_pem))
    )
    assert setup is not None
    assert (setup.files[0].file_name, setup.files[0].text) == ("second-client-ca.crt", "")


def test_no_private_key_is_in_anything() -> None:
    """Neither in the files nor in the snippets, nor in what is shown of them."""
    setup = setup_for(make_host(upstream_tls=mtls()))
    assert "PRIVATE KEY" not in repr(setup)
    assert LEAF.key_pem.splitlines()[1] not in repr(setup)


# What operators type


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("server", SERVERS)
def test_a_name_changes_nothing_but_comments_and_file_names(name: str, server: str) -> None:
    """Without the comments, only file names and labels differ from those of a harmless name."""
    plain, hostile = named("orders"), named(name)
    slugs = [identity.slug for host in (plain, hostile) if (identity := identity_of(host))]
    assert len(slugs) == 2
    code = [without_comments(texts(host)[server], slug) for host, slug in zip((plain, hostile), slugs, strict=True)]
    assert code[0] == code[1]


def test_a_comment_is_no_template() -> None:
    """Traefik expands braces before it reads YAML, and Caddy before it reads its file: a comment has none."""
    host = named("a {{ env `PATH` }} {$PATH} {%x%}")
    comments = [line for text in texts(host).values() for line in text.split("\n") if "the Aegis host" in line]
    assert len(comments) == len(SERVERS)
    assert not any("{" in line or "}" in line for line in comments)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_file_names_are_harmless_and_unique(name: str) -> None:
    """Letters, digits and hyphens; a name that had to be changed brings the host's id, so that none collide."""
    host = named(name)
    identity = identity_of(host)
    assert identity is not None
    assert set(identity.slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert identity.slug.endswith(host.pk.hex[:8])
    assert len(identity.ca.file_name) < 80


def test_names_that_are_none_are_left_out() -> None:
    """A row written past all validation cannot add a line either."""
    host = make_host(upstream_tls=mtls())
    host.upstream_tls.server_name = 'x; } evil { y "z'
    assert "evil" not in "".join(texts(host).values())
    assert "server_name _;" in texts(host)["nginx"]


def test_similar_names_get_different_labels() -> None:
    """`a_b` and `a-b` on one nginx must not share a variable."""
    labels = {identity.slug for name in ("a-b", "a_b", "A b") if (identity := identity_of(named_in_memory(name)))}
    assert len(labels) == 3


# The language of each


def test_node_reads_its_snippet(tmp_path: Path) -> None:
    """`node --check` finds no fault."""
    check(tmp_path, "node", "server.js", ["--check", "server.js"])


def test_python_compiles_its_snippet() -> None:
    """No fault either."""
    for name in HOSTILE_NAMES:
        compile(texts(named(name))["python"], "server.py", "exec")


def test_go_formats_its_snippet_as_it_is(tmp_path: Path) -> None:
    """`gofmt -d` prints no difference."""
    assert check(tmp_path, "gofmt", "main.go", ["-d", "main.go"]) == ""


def check(directory: Path, name: str, file_name: str, arguments: list[str]) -> str:
    """Let a program check the snippet of the most hostile name. Skips without it."""
    path = program(name)
    server = {"node": "node", "gofmt": "go"}[name]
    (directory / file_name).write_text(texts(named(HOSTILE_NAMES[-2]))[server])
    done = subprocess.run([path, *arguments], cwd=directory, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_comments(text: str, slug: str) -> list[str]:
    """The lines that are not comments, with the slug and what is derived from it made equal."""
    lines = text.replace(slug, "SLUG").replace(slug.replace("-", "_"), "SLUG").split("\n")
    return [line for line in lines if not line.strip().startswith(("#", "//"))]


def pem_of(leaf: Leaf, intermediate: Authority) -> str:
    """The leaf and the intermediate, without the root."""
    return leaf.chain_pem.split(intermediate.pem)[0] + intermediate.pem


def self_signed(common_name: str) -> Leaf:
    """A client certificate that its own key has signed."""
    issuer = Authority(common_name)
    return Leaf(certificate=issuer.certificate, chain_pem=issuer.pem, key=issuer.key)


def named_in_memory(name: str) -> Host:
    host = make_host(f"host-{uuid.uuid4().hex[:8]}", upstream_tls=mtls())
    host.name = name
    return host


def test_a_snippet_survives_json() -> None:
    """The API sends it as it is."""
    snippet: Snippet = snippets_for(named(HOSTILE_NAMES[0]))[0]
    assert json.loads(json.dumps(snippet.text)) == snippet.text
