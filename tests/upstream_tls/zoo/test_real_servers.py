"""Real servers that refuse our certificate: how each says so, and that the connection test understands it.

The table at the end of docs/diagnosis.md. Servers that are not on this machine are skipped with a reason.
"""

import contextlib
import dataclasses
import datetime
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.nginx import Nginx
from tests.support.polling import eventually
from tests.support.ports import free_port
from upstream_tls.tls.probe import ProbeResult, ProbeTarget, probe
from upstream_tls.tls.spec import TLS_VERSIONS, UpstreamTLSSpec
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import CLIENT, DAY, PKI, SERVER, SERVER_NAME, Wrong, pem

NODE = """
const https = require('https'), fs = require('fs');
const options = {cert: fs.readFileSync('server.crt'), key: fs.readFileSync('server.key'),
  ca: fs.readFileSync('client-ca.crt'), requestCert: true, rejectUnauthorized: true};
const server = https.createServer(options, (request, response) => response.end('ok'));
server.listen(Number(process.argv[2]), '127.0.0.1');
"""

PYTHON = """
import http.server, ssl, sys
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="client-ca.crt")
context.verify_mode = ssl.CERT_REQUIRED
context.load_cert_chain("server.crt", "server.key")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

Fault: TypeAlias = str
FAULTS: dict[Fault, Callable[[PKI], UpstreamTLSSpec]] = {
    "good": settings,
    "no usage": lambda pki: settings(pki, client=pki.client(wrong=Wrong(usages=()))),
    "none sent": lambda pki: settings(pki, without_client=True),
    "expired": lambda pki: settings(pki, client=pki.client(wrong=Wrong(usages=CLIENT, starts=-9 * DAY, ends=-DAY))),
    "unknown CA": lambda pki: settings(pki, client=pki.client(issuer=pki.stranger)),
    "self-signed": lambda pki: settings(pki, client=pki.self_signed("self-signed-client")),
    "no intermediate": lambda pki: settings(
        pki, client=pki.client(issuer=pki.authority("Client intermediate", issuer=pki.clients_root)).alone
    ),
    "serverAuth": lambda pki: settings(pki, client=pki.client(wrong=Wrong(usages=SERVER))),
    "revoked": lambda pki: settings(pki, client=pki.client("revoked-client")),
}

GOOD = {"good": "", "no usage": ""}
BY_ALERT = {
    **GOOD,
    "none sent": "client_certificate_required",
    "expired": "client_certificate_expired",
    "unknown CA": "client_certificate_untrusted",
    "self-signed": "client_certificate_untrusted",
    "no intermediate": "client_certificate_untrusted",
    "serverAuth": "client_certificate_wrong_purpose",
}
ALL_REJECTED = {fault: "client_certificate_rejected" for fault in BY_ALERT}
BY_PAGE = {**ALL_REJECTED, **GOOD, "none sent": "client_certificate_required"}


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"real servers", datetime.datetime.now(datetime.UTC))


@pytest.fixture(autouse=True)
def _expired_certificates_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection test itself would not send one; here the upstream's opinion is asked for."""
    monkeypatch.setattr("upstream_tls.tls.probe.own_expiry", lambda _context, _now: None)


@contextlib.contextmanager
def openssl(pki: PKI, directory: Path) -> Iterator[int]:
    """`openssl s_server`, with the client CA's revocation list."""
    crl = pki.crl(pki.clients_root, (pki.client("revoked-client").certificate,))
    (directory / "list.crl").write_bytes(crl.public_bytes(Encoding.PEM))
    options = "-www -quiet -Verify 3 -verify_return_error -cert server.crt -key server.key -CAfile client-ca.crt"
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", *options.split()]
    with running([*command, "-CRL", "list.crl", "-crl_check"], pki, directory, port):
        yield port


@contextlib.contextmanager
def node(pki: PKI, directory: Path) -> Iterator[int]:
    """Node's https module."""
    (directory / "server.js").write_text(NODE)
    port = free_port()
    with running(["node", "server.js", str(port)], pki, directory, port):
        yield port


@contextlib.contextmanager
def python(pki: PKI, directory: Path) -> Iterator[int]:
    """CPython's ssl and http.server."""
    port = free_port()
    with running(["python3", "-c", PYTHON, str(port)], pki, directory, port):
        yield port


@contextlib.contextmanager
def nginx(pki: PKI, directory: Path) -> Iterator[int]:
    """nginx with ssl_verify_client on."""
    server = pki.server()

    class Leaf:
        chain_pem = server.chain_pem.decode()
        key_pem = server.key_pem.decode()

    with Nginx(directory, server=Leaf(), client_ca_pem=pem(pki.clients_root.certificate).decode()) as up:  # type: ignore[arg-type]
        yield up.port


@contextlib.contextmanager
def running(command: list[str], pki: PKI, directory: Path, port: int) -> Iterator[None]:
    """A server process, up to its first answer."""
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not on this machine")
    server = pki.server()
    (directory / "server.crt").write_bytes(server.chain_pem)
    (directory / "server.key").write_bytes(server.key_pem)
    (directory / "client-ca.crt").write_bytes(pem(pki.clients_root.certificate))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *command[1:]], cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        eventually(lambda: probe(settings(pki), _target(port)).success, within_s=20)
        yield
    finally:
        process.kill()
        process.wait()


SERVERS = {
    "openssl": (openssl, {**BY_ALERT, "revoked": "client_certificate_revoked"}),
    "python": (python, BY_ALERT),
    "node": (node, {**ALL_REJECTED, **GOOD, "none sent": "client_certificate_required"}),
    "nginx": (nginx, BY_PAGE),
}


@pytest.mark.parametrize("name", SERVERS)
def test_each_server_is_understood(name: str, pki: PKI, tmp_path: Path) -> None:
    """Every fault of our certificate, under TLS 1.2 and 1.3, has the code that the documentation promises."""
    server, expected = SERVERS[name]
    wrong = []
    with server(pki, tmp_path) as port:
        for fault, code in expected.items():
            for version in TLS_VERSIONS:
                spec = dataclasses.replace(FAULTS[fault](pki), min_version=version, max_version=version)
                result = probe(spec, _target(port), timeout_s=20)
                print(f"{name:10}{fault:18}{version:9}{_summary(result)}")  # noqa: T201 (the table is the point)
                if (result.error.code if result.error else "") != code or not _is_certain(result):
                    wrong.append((fault, version, result.error))
    assert not wrong


def _is_certain(result: ProbeResult) -> bool:
    return result.error is None or result.error.confidence == "certain"


def _summary(result: ProbeResult) -> str:
    if result.error is None:
        return f"success, HTTP {result.http_status}"
    alert = result.error.evidence["alert"]
    seen = f"alert {alert['number']}" if alert else f"HTTP {result.http_status}" if result.http_status else "a close"
    return f"{result.error.code:36}{seen:10} {result.error.message}"


def _target(port: int) -> ProbeTarget:
    return ProbeTarget(address="127.0.0.1", port=port, host_field=SERVER_NAME)
