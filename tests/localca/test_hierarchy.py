"""Intermediates and changes of the root: who issues, what is trusted meanwhile, and that a failure leaves nothing."""

import datetime
import http.client
import io
import json
import shutil
import socket
import ssl
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.keyring import SecretUnreadable
from localca import hierarchy
from localca.bundle import trust_bundle_zip
from localca.hierarchy import HierarchyError, create_intermediate, create_root, set_crl_url
from localca.models import CertificateAuthority, IssuedCertificate, RevocationList, RevocationReason
from localca.profiles import BACKDATE, LEAF_VALIDITY
from localca.revocation import current_list, current_lists, revoke_certificate
from localca.selectors import active_authority, trust_anchors, trust_anchors_pem
from localca.services import (
    IssuanceError,
    IssuedBundle,
    ensure_authority,
    issue_client_certificate,
    issue_server_certificate,
    renew_certificate,
)
from tests.support.certificates import Leaf
from tests.support.nginx import Nginx
from tests.support.polling import eventually
from tests.support.ports import free_port

URL = "http://aegis.example.com/api/v1/ca/crl"

pytestmark = pytest.mark.django_db


def test_an_intermediate_takes_over() -> None:
    """Leafs are its business from then on; the root stays the anchor and both have a list."""
    root = ensure_authority()
    intermediate = create_intermediate(user=None)
    assert str(intermediate) == f"Aegis Local Intermediate CA {intermediate.pk.hex[:8]}"
    assert active_authority() == intermediate
    assert trust_anchors() == (root,)
    assert trust_anchors_pem() == root.certificate_pem
    bundle = issue_client_certificate(common_name="orders")
    assert bundle.record.authority == intermediate
    leaf, above = x509.load_pem_x509_certificates(bundle.chain_pem.encode())
    leaf.verify_directly_issued_by(above)
    above.verify_directly_issued_by(root.certificate)
    assert [found.authority for found in current_lists()] == [intermediate, root]


def test_a_second_intermediate_stands_beside_the_first() -> None:
    """Both beneath the root; what the first issued stays as it is, and is renewed by the second."""
    root = ensure_authority()
    first = create_intermediate(user=None)
    old = issue_client_certificate(common_name="orders").record
    second = create_intermediate(common_name="Our second", user=None)
    assert (str(second), second.parent) == ("Our second", root)
    assert renew_certificate(certificate=old, user=None).record.authority == second
    assert IssuedCertificate.objects.get(pk=old.pk).chain_pem.endswith(first.certificate_pem)


def test_a_new_root_stands_beside_the_old_one() -> None:
    """It issues, and both are trusted, the new one first; its intermediate is its own."""
    old = ensure_authority()
    before = issue_client_certificate(common_name="orders").record
    new = create_root(user=None)
    assert (active_authority(), trust_anchors()) == (new, (new, old))
    assert trust_anchors_pem() == new.certificate_pem + old.certificate_pem
    assert renew_certificate(certificate=before, user=None).record.authority == new
    assert create_intermediate(user=None).parent == new


def test_what_the_audit_log_says() -> None:
    """Two entries: who issues no longer, and who does."""
    root = ensure_authority()
    AuditEntry.objects.all().delete()
    intermediate = create_intermediate(user=None)
    entries = list(AuditEntry.objects.order_by("pk").values_list("action", "target_id", "target_type"))
    assert entries == [("replaced", str(root.pk), "ca"), ("created", str(intermediate.pk), "ca")]
    assert "PRIVATE KEY" not in json.dumps(list(AuditEntry.objects.values_list("changes", flat=True)))


def test_where_lists_are_found() -> None:
    """The URL of the CA that issues stands in what it issues from then on."""
    root = ensure_authority()
    root = set_crl_url(authority=root, crl_url=f" {URL} ", user=None)
    intermediate = create_intermediate(crl_url=f"{URL}/intermediate", user=None)
    leaf = issue_client_certificate(common_name="orders").record
    for certificate, url in ((intermediate.certificate, URL), (leaf.certificate, f"{URL}/intermediate")):
        (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert point.full_name == [x509.UniformResourceIdentifier(url)]
    set_crl_url(authority=intermediate, crl_url="", user=None)
    later = issue_client_certificate(common_name="orders").record.certificate
    with pytest.raises(x509.ExtensionNotFound):
        later.extensions.get_extension_for_class(x509.CRLDistributionPoints)


@pytest.mark.parametrize("create", [create_intermediate, create_root])
def test_bad_values_are_told_at_their_fields(create: Callable[..., Any]) -> None:
    """All at once, and nothing is made."""
    ensure_authority()
    with pytest.raises(ValidationError) as raised:
        create(common_name="x" * 65, crl_url="ftp://example.com/crl", user=None)
    assert raised.value.error_dict.keys() == {"common_name", "crl_url"}
    assert CertificateAuthority.objects.count() == 1


def test_without_a_ca_there_is_no_intermediate() -> None:
    """Before the first run: a refusal that says what is missing."""
    with pytest.raises(HierarchyError, match="There is no local CA yet"):
        create_intermediate(user=None)


def test_a_root_whose_key_does_not_open_makes_no_intermediate(settings: Any) -> None:
    """Nothing half done: the old CA issues as before."""
    root = ensure_authority()
    settings.AEGIS_SSL_KEY = "ab" * 32
    with pytest.raises(SecretUnreadable):
        create_intermediate(user=None)
    assert list(CertificateAuthority.objects.filter(is_active=True)) == [root]


def test_an_expired_intermediate_issues_nothing() -> None:
    """The reason names it, and the root makes the next one."""
    ensure_authority()
    intermediate = create_intermediate(user=None)
    with time_machine.travel(intermediate.facts.not_after, tick=False):
        with pytest.raises(IssuanceError, match=rf"CN={intermediate} ended .* UTC"):
            issue_client_certificate(common_name="orders")
        assert not IssuedCertificate.objects.exists()
        create_intermediate(user=None)
        issue_client_certificate(common_name="orders")


def test_what_an_ending_intermediate_cut_short_is_renewed_in_full() -> None:
    """The next intermediate has years: its successor gets what is usual, and not the few days that were left."""
    ensure_authority()
    intermediate = create_intermediate(user=None)
    with time_machine.travel(intermediate.facts.not_after - datetime.timedelta(days=20), tick=False):
        old = issue_client_certificate(common_name="orders").record
        assert old.not_after == intermediate.facts.not_after
        create_intermediate(user=None)
        new = renew_certificate(certificate=old, user=None).record
        assert new.not_after - new.not_before == LEAF_VALIDITY + BACKDATE


def test_a_clock_that_is_wrong_is_named() -> None:
    """Before the CA's beginning: what the certificate says, and what the clock says."""
    ensure_authority()
    with time_machine.travel("2020-01-01T00:00:00Z", tick=False):
        for act in (lambda: create_intermediate(user=None), lambda: issue_client_certificate(common_name="x")):
            with pytest.raises((HierarchyError, IssuanceError), match="this machine's clock says 2020-01-01 00:00"):
                act()
    assert CertificateAuthority.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_somebody_else_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second CA in charge at the same moment is refused, and nothing of it is kept."""
    ensure_authority()
    none = CertificateAuthority.objects.none()
    monkeypatch.setattr(hierarchy.CertificateAuthority.objects, "select_for_update", lambda: none)
    with pytest.raises(HierarchyError) as raised:
        create_root(user=None)
    assert raised.value.code == "changed_meanwhile"
    assert CertificateAuthority.objects.count() == 1


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Lets the database grow no further, as on a full disk; SQLite itself refuses the page."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite can be told to be full")

    def limit_to(pages: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA page_count")
            limit_to(cursor.fetchone()[0])

    yield fill
    limit_to(1 << 30)


@pytest.mark.django_db(transaction=True)
def test_a_full_disk_leaves_nothing_half_done(full_disk: Callable[[], None]) -> None:
    """A new CA is there with its list, its entry and its charge, or not at all; so is a certificate."""
    ensure_authority()

    def state() -> list[Any]:
        rows = (CertificateAuthority, RevocationList, IssuedCertificate, AuditEntry)
        return [sorted(map(str, model.objects.values_list())) for model in rows]

    def until_full(act: Callable[[], Any]) -> None:
        """The last pages have some room left."""
        befores = []

        def act_and_act() -> None:
            for _ in range(100):
                befores.append(state())
                act()

        with pytest.raises(DatabaseError, match="full"):
            act_and_act()
        assert state() == befores[-1]

    full_disk()
    until_full(lambda: create_root(user=None))
    until_full(lambda: create_intermediate(user=None))
    until_full(lambda: issue_client_certificate(common_name="orders"))
    assert CertificateAuthority.objects.filter(is_active=True).count() == 1
    assert CertificateAuthority.objects.filter(revocation_lists=None).count() == 0
    assert IssuedCertificate.objects.count() == AuditEntry.objects.filter(target_type="certificate").count()


def crl_files() -> str:
    return "".join(found.pem for found in current_lists())


def as_leaf(bundle: IssuedBundle) -> Leaf:
    assert bundle.key is not None
    return Leaf(certificate=bundle.record.certificate, chain_pem=bundle.chain_pem, key=bundle.key)  # type: ignore[arg-type]


def test_nginx_believes_the_chain(tmp_path: Path) -> None:
    """nginx with the root alone and all lists admits the leaf of an intermediate, until that leaf is revoked."""
    root = ensure_authority()
    create_intermediate(user=None)
    server = issue_server_certificate(common_name="localhost", subject_alt_names=["DNS:localhost", "IP:127.0.0.1"])
    client = issue_client_certificate(common_name="orders")
    (tmp_path / "root.crt").write_text(root.certificate_pem)
    (tmp_path / "client.pem").write_text(client.chain_pem + client.key_pem.decode())

    def answer(directory: str) -> tuple[int, str]:
        with Nginx(
            tmp_path / directory, server=as_leaf(server), client_ca_pem=trust_anchors_pem(), crl_pem=crl_files()
        ) as nginx:
            return asked(nginx.port, tmp_path)

    status, body = answer("before")
    assert (status, json.loads(body)["verify"]) == (200, "SUCCESS")
    revoke_certificate(certificate=client.record, reason=RevocationReason.KEY_COMPROMISE, user=None)
    status, body = answer("after")
    assert (status, "SSL certificate error" in body) == (400, True)


def asked(port: int, directory: Path) -> tuple[int, str]:
    """Status and body of a request with the client certificate, the server's being verified by the root alone."""
    context = ssl.create_default_context(cafile=str(directory / "root.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(directory / "client.pem")
    client = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        client.request("GET", "/")
        response = client.getresponse()
        return response.status, response.read().decode()
    finally:
        client.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command on this machine")
def test_openssl_servers_believe_the_chain(tmp_path: Path) -> None:
    """s_server with the root alone verifies the client, and s_client the server, both in strict mode."""
    files = material(tmp_path)
    port = free_port()
    strict = ["-x509_strict", "-verify_return_error"]
    server = subprocess.Popen(
        [
            "openssl",
            "s_server",
            "-accept",
            f"127.0.0.1:{port}",
            "-cert",
            files["server"],
            "-cert_chain",
            files["server"],
            "-key",
            files["server.key"],
            "-CAfile",
            files["root"],
            "-Verify",
            "3",
            *strict,
            "-www",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        eventually(lambda: connects(port), within_s=10)
        client = subprocess.run(
            [
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{port}",
                "-cert",
                files["client"],
                "-cert_chain",
                files["client"],
                "-key",
                files["client.key"],
                "-CAfile",
                files["root"],
                "-verify_hostname",
                "localhost",
                "-ign_eof",
                *strict,
            ],
            input="GET / HTTP/1.0\r\n\r\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        server.kill()
        log, _ = server.communicate()
    assert "Verify return code: 0 (ok)" in client.stdout, client.stdout + client.stderr
    assert "HTTP/1.0 200 ok" in client.stdout
    assert "depth=0 CN = orders\nverify return:1" in log


NODE = """
const fs = require("fs"), tls = require("tls"), read = (name) => fs.readFileSync(name);
const [root, server, serverKey, client, clientKey] = process.argv.slice(1).map(read);
const listener = tls.createServer({ca: root, cert: server, key: serverKey, requestCert: true}, (socket) => {
  socket.end(`${socket.authorized} ${socket.getPeerCertificate().subject.CN}`);
});
listener.listen(0, "127.0.0.1", () => {
  const options = {host: "127.0.0.1", port: listener.address().port, servername: "localhost"};
  const socket = tls.connect({...options, ca: root, cert: client, key: clientKey});
  socket.on("data", (data) => { console.log(`${socket.authorized} ${data}`); });
  socket.on("close", () => listener.close());
});
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_node_believes_the_chain(tmp_path: Path) -> None:
    """Both sides of Node's TLS, each with the root alone."""
    files = material(tmp_path)
    names = [files[name] for name in ("root", "server", "server.key", "client", "client.key")]
    found = subprocess.run(["node", "-e", NODE, *names], capture_output=True, text=True, timeout=30, check=False)
    assert (found.stdout, found.returncode) == ("true true orders\n", 0), found.stderr


def material(directory: Path) -> dict[str, str]:
    """Files of a root, and of a server and a client beneath its intermediate."""
    root = ensure_authority()
    create_intermediate(user=None)
    server = issue_server_certificate(common_name="localhost", subject_alt_names=["DNS:localhost"])
    client = issue_client_certificate(common_name="orders")
    texts = {
        "root": root.certificate_pem,
        "server": server.chain_pem,
        "server.key": server.key_pem.decode(),
        "client": client.chain_pem,
        "client.key": client.key_pem.decode(),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    return {name: str(directory / name) for name in texts}


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_the_bundle_during_a_change() -> None:
    """Both roots, and the lists of every CA; the same bytes each time."""
    old = ensure_authority()
    create_intermediate(user=None)
    new = create_root(user=None)
    content = trust_bundle_zip()
    assert content == trust_bundle_zip()
    bundle = zipfile.ZipFile(io.BytesIO(content))
    assert bundle.read("aegis-local-ca.crt").decode() == new.certificate_pem + old.certificate_pem
    assert bundle.read("aegis-local-ca.crl").count(b"BEGIN X509 CRL") == 3
    readme = bundle.read("README.txt").decode()
    assert "The CA is being changed: trust all 2" in readme
    assert all(root.facts.fingerprint_sha256 in readme for root in (old, new))
    assert current_list(new).number == 1
