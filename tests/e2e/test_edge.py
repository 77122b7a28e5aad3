"""What stands in front of the proxy: `up` with trusted proxies and a listener with the PROXY protocol."""

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority
from tests.support.instance import Instance, request
from tests.support.nginx import seen
from tests.support.polling import eventually
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

LIVE_WITHIN_S = 1.0
CLIENT = "203.0.113.7"  # RFC 5737: an address of nobody


@pytest.fixture(scope="module")
def load_balanced_port() -> int:
    """Where the load balancer connects to."""
    return free_port()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, load_balanced_port: int) -> Iterator[Instance]:
    """A demo whose first HTTP listener is a load balancer's, which stands on this machine."""
    open_port = free_port()
    variables = {
        "AEGIS_TRUSTED_PROXIES": "127.0.0.1",
        "AEGIS_PROXY_HTTP": f"127.0.0.1:{load_balanced_port} proxy_protocol, 127.0.0.1:{open_port}",
    }
    instance = Instance(tmp_path_factory.mktemp("edge"), command="demo", environment=variables)
    instance.proxy_port = open_port
    with instance as running:
        yield running


@pytest.fixture
def domain(edge: Instance, host_document: HostDocument, client_ca: Authority) -> str:
    """Of a host that answers."""
    name: str = edge.create_host(**host_document(client_ca.client("orders")))["domains"][0]
    eventually(lambda: edge.proxy(name).status == 200, within_s=LIVE_WITHIN_S)
    return name


def test_the_demo_is_ready_beside_a_load_balancers_listener(edge: Instance, load_balanced_port: int) -> None:
    """Its command names the listener that curl can use."""
    assert f"curl -i -H 'Host: demo.localhost' http://127.0.0.1:{edge.proxy_port}/" in edge.log
    assert f"http://127.0.0.1:{load_balanced_port} " in edge.log


def test_a_trusted_proxy_says_who_the_client_is(edge: Instance, domain: str) -> None:
    """The upstream is told of the client and the proxy; what stands left of the client is a stranger's word."""
    fields = {"Host": domain, "X-Forwarded-For": f"192.0.2.66, {CLIENT}", "X-Forwarded-Proto": "https"}
    document = seen(request(edge.proxy_port, "/", headers=fields).body)
    assert (document["forwarded_for"], document["forwarded_proto"]) == (f"{CLIENT}, 127.0.0.1", "https")


def test_a_load_balancers_header_says_who_the_client_is(edge: Instance, domain: str, load_balanced_port: int) -> None:
    """What the client itself writes is not believed."""
    answer = exchange(
        load_balanced_port,
        f"PROXY TCP4 {CLIENT} 127.0.0.1 40000 80\r\n"
        f"GET / HTTP/1.1\r\nHost: {domain}\r\nX-Forwarded-For: 192.0.2.66\r\nConnection: close\r\n\r\n",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert seen(body)["forwarded_for"] == CLIENT
    log = edge.data_dir / "access-log" / f"{domain.removesuffix('.example.com')}.log"
    eventually(lambda: log.exists() and f'"client":"{CLIENT}"' in log.read_text(), within_s=5)


def test_without_the_header_nothing_is_answered(edge: Instance, domain: str, load_balanced_port: int) -> None:
    """Closed; a load balancer that was configured wrongly is noticed at once."""
    request_text = f"GET / HTTP/1.1\r\nHost: {domain}\r\n\r\n"
    assert exchange(load_balanced_port, request_text) == b""
    assert 'aegis_client_connections_refused_total{reason="proxy_protocol"} 1.0' in edge.metrics().body.decode()


def exchange(port: int, text: str) -> bytes:
    """What is answered until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        try:
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionResetError:
            return b""
