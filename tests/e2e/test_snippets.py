"""The snippets in the programs they are for: the host's own certificate gets in, nothing else does.

Only paths, listening addresses and the application behind are replaced; the text is otherwise what operators copy.
"""

import http.client
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hosts.enforcement import EnforcementResult, Verdict, prove_enforcement
from hosts.models import Host
from hosts.services import install_issued_certificate
from hosts.snippets import setup_for
from hosts.specs import UpstreamSpec
from tests.e2e.conftest import HostDocument
from tests.hosts.examples import make_host
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Instance
from tests.support.peers import program
from tests.support.polling import eventually
from tests.support.ports import free_port
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = [pytest.mark.e2e, pytest.mark.django_db]

START_WITHIN_S = 20.0

CLIENT_CA = Authority("Client CA")
SERVER_CA = Authority("Upstream CA")
SERVER = SERVER_CA.server("backend.internal")
OURS = CLIENT_CA.client("orders", names=["orders.example.com"])
# The same names from the same CA: only the certificate itself tells them apart.
TWIN = CLIENT_CA.client("orders", names=["orders.example.com"])
STRANGER = Authority("Client CA").client("orders", names=["orders.example.com"])

# A handshake that fails, and a connection that ends without an answer.
REFUSED = "refused"

_OWN_PATHS = re.compile(r"/etc/(?:nginx|haproxy|caddy|envoy|traefik|aegis-upstream)/(?:aegis/)?")

_NGINX = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
{0}}}
"""
_HAPROXY = """
global
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    timeout connect 5s
    timeout client 5s
    timeout server 5s
{0}"""
_CADDY = "{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n\tpersist_config off\n}}\n{0}"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How a snippet becomes a server on loopback: `frame` goes around it, `binds` are (what, by what) replacements."""

    name: str
    file_name: str
    command: tuple[str, ...]
    frame: str = "{0}"
    binds: tuple[tuple[str, str], ...] = ()
    another: object = REFUSED
    none: object = REFUSED
    needs_server_name: bool = False


PEERS = [
    Peer(
        name="nginx",
        file_name="nginx.conf",
        frame=_NGINX,
        binds=(("listen ", "listen 127.0.0.1:"),),
        command=("nginx", "-p", ".", "-c", "nginx.conf", "-e", "error.log"),
        another=403,
        none=400,
    ),
    Peer(
        name="haproxy",
        file_name="haproxy.cfg",
        frame=_HAPROXY,
        binds=(("bind :", "bind 127.0.0.1:"),),
        command=("haproxy", "-db", "-f", "haproxy.cfg"),
        another=403,
    ),
    Peer(
        name="caddy",
        file_name="Caddyfile",
        frame=_CADDY,
        command=("caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"),
        needs_server_name=True,
    ),
    Peer(
        name="envoy",
        file_name="envoy.yaml",
        binds=(("0.0.0.0", "127.0.0.1"),),
        command=("envoy", "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"),
    ),
    Peer(
        name="traefik",
        file_name="dynamic.yaml",
        command=(
            "traefik",
            "--entryPoints.{label}.address=127.0.0.1:{port}",
            "--providers.file.filename=dynamic.yaml",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ),
    ),
    Peer(
        name="node",
        file_name="server.js",
        binds=(("server.listen(port)", 'server.listen(port, "127.0.0.1")'),),
        command=("node", "server.js"),
    ),
    Peer(
        name="python",
        file_name="server.py",
        binds=(('("", ', '("127.0.0.1", '),),
        command=("python", "server.py"),
    ),
]


class Application(BaseHTTPRequestHandler):
    """What stands behind the snippets that are proxies."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def application_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


# Programs read their language themselves here: what is hostile to one of them is in this name.
HOSTILE_NAME = "a\"; } b'\\ ${PATH} {{x}} `id` <!-- */ \n\u2028}\nhttp {"

CASES = [
    pytest.param(peer, server_name, name, id=f"{peer.name} {how}")
    for peer in PEERS
    for how, server_name, name in (("by name", "backend.internal", "orders"), ("by address", "", HOSTILE_NAME))
    if server_name or not peer.needs_server_name
]

Start = Callable[[Peer, Host], int]


@pytest.fixture
def start(tmp_path: Path, application_port: int) -> Iterator[Start]:
    """Starts a peer with its snippet for a host; returns its port when it listens."""
    running: list[subprocess.Popen[bytes]] = []

    def start(peer: Peer, host: Host) -> int:
        command = [program(peer.command[0]), *peer.command[1:]]
        port = host.upstreams.all()[0].port
        label = write_files(tmp_path, peer, host, application_port=application_port)
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [word.format(port=port, label=label) for word in command],
                cwd=tmp_path,
                env={"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        running.append(process)

        def listens() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens, within_s=START_WITHIN_S)
        return port

    yield start
    for process in running:
        process.kill()
        process.wait()


def stored_host(name: str = "orders", **tls: str) -> Host:
    """A host before a port of loopback; its name is written past all validation."""
    changes = UpstreamTLSChanges(ca_certificate=SERVER_CA.pem + CLIENT_CA.pem, **tls)
    host = make_host(upstreams=(UpstreamSpec(address="127.0.0.1", port=free_port()),), upstream_tls=changes)
    Host.objects.filter(pk=host.pk).update(name=name)
    return Host.objects.with_configuration().get(pk=host.pk)


def write_files(directory: Path, peer: Peer, host: Host, *, application_port: int) -> str:
    """The snippet, the files that it names, and the server's own certificate. Returns the snippet's label."""
    setup = setup_for(host)
    assert setup is not None
    text = next(snippet.text for snippet in setup.snippets if snippet.server == peer.name)
    text = _OWN_PATHS.sub(f"{directory}/", text).replace("127.0.0.1:8080", f"127.0.0.1:{application_port}")
    text = text.replace("port_value: 8080", f"port_value: {application_port}")
    for what, by_what in peer.binds:
        assert what in text
        text = text.replace(what, by_what)
    (directory / peer.file_name).write_text(peer.frame.format(text))
    for file in setup.files:
        (directory / file.file_name).write_text(file.text)
    (directory / "server.crt").write_text(SERVER.chain_pem)
    (directory / "server.key").write_text(SERVER.key_pem)
    (directory / "server.pem").write_text(SERVER.chain_pem + SERVER.key_pem)
    return f"aegis-{setup.files[1].file_name.removesuffix('-client.crt')}"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Sends requests as Aegis does: the server name, if there is one, as SNI and in the Host field."""

    directory: Path
    port: int
    server_name: str
    version: ssl.TLSVersion

    def under(self, leaf: Leaf | None) -> object:
        """The status of one request under a certificate, or REFUSED."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=SERVER_CA.pem)
        context.check_hostname = False
        context.minimum_version = context.maximum_version = self.version
        if leaf is not None:
            (self.directory / "asking.pem").write_text(leaf.chain_pem + leaf.key_pem)
            context.load_cert_chain(self.directory / "asking.pem")
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            connection.sock = context.wrap_socket(plain, server_hostname=self.server_name or None)
            connection.request("GET", "/", headers={"Host": f"{self.server_name or '127.0.0.1'}:{self.port}"})
            return connection.getresponse().status
        except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
            return REFUSED
        finally:
            connection.close()


@pytest.mark.parametrize(("peer", "server_name", "name"), CASES)
def test_the_snippet_admits_this_identity_and_no_other(
    start: Start, tmp_path: Path, peer: Peer, server_name: str, name: str
) -> None:
    """Ours gets 200; its twin of the same CA, a certificate of a CA of the same name, and none at all are refused."""
    host = stored_host(name, server_name=server_name, client_certificate=OURS.chain_pem, client_key=OURS.key_pem)
    port = start(peer, host)
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        asking = Asking(directory=tmp_path, port=port, server_name=server_name, version=version)
        # Some listen before they have read their configuration.
        eventually(lambda asking=asking: asking.under(OURS) == 200, within_s=START_WITHIN_S)  # type: ignore[misc]
        assert [asking.under(leaf) for leaf in (TWIN, None)] == [peer.another, peer.none], version.name
        assert asking.under(STRANGER) in (REFUSED, 400), version.name


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_snippet_is_proved_to_be_enforced(start: Start, peer: Peer) -> None:
    """Strangers are refused, another certificate of the local CA as well; Aegis says so by itself."""
    host = stored_host(server_name="backend.internal")
    install_issued_certificate(host=host, user=None)
    host = Host.objects.with_configuration().get(pk=host.pk)
    start(peer, host)
    upstream = host.upstreams.all()[0]

    def prove() -> EnforcementResult:
        return prove_enforcement(host=host, upstream=upstream, user=None, may_issue=True)

    result = eventually(
        lambda: found if (found := prove()).other_refused is not None else None, within_s=START_WITHIN_S
    )
    assert result is not None
    assert (result.verdict, result.other_refused) == (Verdict.ENFORCED, True), result


def test_a_running_aegis_proves_it(aegis: Instance, host_document: HostDocument, client_ca: Authority) -> None:
    """Through the API and the Celery worker, before an nginx that insists; and it hands over what to install."""
    host = aegis.create_host(**host_document(client_ca.client("orders")))
    proof = aegis.api("POST", f"hosts/{host['id']}/prove-enforcement")
    assert (proof.status, proof.json["verdict"]) == (200, "enforced"), proof.body
    setup = aegis.api("GET", f"hosts/{host['id']}/upstream-setup")
    assert (setup.status, len(setup.json["snippets"])) == (200, 9)
