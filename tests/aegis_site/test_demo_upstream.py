"""demo_upstream: lets in whom the local CA vouches for, and says who it was."""

import http.client
import io
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_site.demo import DEMO_SERVER_NAME, Demo
from aegis_site.demo_upstream import DemoServer, main
from aegis_site.environment import BindAddress
from tests.support.certificates import Authority, Leaf
from tests.support.polling import eventually
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def local_ca() -> Authority:
    return Authority("Aegis Local CA test")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, local_ca: Authority) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("data"), BindAddress("127.0.0.1", free_port()))
    demo.directory.mkdir()
    upstream_ca = Authority("Demo CA")
    leaf = upstream_ca.server(DEMO_SERVER_NAME, "127.0.0.1")
    demo.ca_path.write_text(upstream_ca.pem)
    demo.certificate_path.write_text(leaf.chain_pem)
    demo.key_path.write_text(leaf.key_pem)
    demo.client_ca_path.write_text(local_ca.pem)
    with DemoServer(demo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield demo
        server.shutdown()
        thread.join()


def ask(demo: Demo, tmp_path: Path, identity: Leaf | None, method: str = "GET") -> http.client.HTTPResponse:
    context = ssl.create_default_context(cafile=str(demo.ca_path))
    if identity is not None:
        bundle = tmp_path / "client.pem"
        bundle.write_text(identity.chain_pem + identity.key_pem)
        context.load_cert_chain(bundle)
    connection = http.client.HTTPSConnection("127.0.0.1", demo.address.port, context=context, timeout=5)
    try:
        connection.request(method, "/some/path", headers={"Host": "orders.example"})
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        return response
    finally:
        connection.close()


def test_it_says_whose_certificate_it_saw(demo: Demo, tmp_path: Path, local_ca: Authority) -> None:
    """Subject, issuer and serial number of the client, with the request as it arrived."""
    identity = local_ca.client("orders")
    response = ask(demo, tmp_path, identity)
    document = json.loads(response.body)  # type: ignore[attr-defined]
    assert response.status == 200
    assert document["client_certificate"]["subject"] == "CN=orders"
    assert document["client_certificate"]["issuer"] == "CN=Aegis Local CA test"
    assert int(document["client_certificate"]["serial_number"], 16) == identity.certificate.serial_number
    assert (document["method"], document["path"], document["host"]) == ("GET", "/some/path", "orders.example")


def test_a_head_request_has_no_body(demo: Demo, tmp_path: Path, local_ca: Authority) -> None:
    """The length is that of the GET."""
    response = ask(demo, tmp_path, local_ca.client(), "HEAD")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0
    assert response.body == b""  # type: ignore[attr-defined]


@pytest.mark.parametrize("identity", [None, Authority("Somebody").client()], ids=["none", "unknown CA"])
def test_nobody_else_is_let_in(
    demo: Demo, tmp_path: Path, identity: Leaf | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake fails, and the log has one line about it."""
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    alert = "CERTIFICATE_REQUIRED" if identity is None else "UNKNOWN_CA"
    with pytest.raises(ssl.SSLError, match=alert):
        ask(demo, tmp_path, identity)
    eventually(lambda: log.getvalue().endswith("\n"), within_s=5)
    (line,) = log.getvalue().splitlines()
    assert line.startswith("refused 127.0.0.1: ")


def test_an_address_that_is_taken_is_one_line(demo: Demo) -> None:
    """A second upstream on the same address ends with the reason."""
    with pytest.raises(SystemExit, match=f"cannot serve on {demo.address}"):
        main(str(demo.data_dir), str(demo.address))
