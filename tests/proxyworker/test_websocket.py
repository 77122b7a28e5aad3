"""WebSockets through a real worker: a client and a server of their own, over an upstream that demands mTLS."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from proxyworker.snapshot import Deadlines, HostEntry, Upstream, UpstreamTLS
from tests.proxyworker.websocket_upstream import WebSocketUpstream, server_context
from tests.proxyworker.worker import PATIENCE_S, Worker
from tests.support.certificates import Authority
from tests.support.polling import eventually

CA = Authority("Upstream CA")
CLIENT_CA = Authority("Client CA")
CLIENT = CLIENT_CA.client("aegis")
STRANGER = Authority("Stranger").client("stranger")
MEBIBYTE = 1024 * 1024


def host(name: str, port: int, certificate: str = CLIENT.chain_pem, **changes: object) -> HostEntry:
    """A host named like its domain, which presents this certificate."""
    return HostEntry(
        host_id=name,
        name=name,
        domains=(name,),
        upstreams=(Upstream(upstream_id="u", scheme="https", address="127.0.0.1", port=port),),
        upstream_tls=UpstreamTLS(client_certificate=certificate, ca_certificate=CA.pem),
        **changes,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebSocketUpstream]:
    directory = tmp_path_factory.mktemp("websocket")
    with WebSocketUpstream(server_context(directory, CA.server("127.0.0.1"), CLIENT_CA.pem)) as upstream:
        yield upstream


def chat(worker: Worker, name: str = "chat.test", **options: object) -> ClientConnection:
    """A client's WebSocket through the worker."""
    connection = connect(
        f"ws://{name}/chat",
        sock=worker.connect(),
        proxy=None,
        max_size=None,
        compression=None,
        ping_interval=None,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
        **options,  # type: ignore[arg-type]
    )
    assert isinstance(connection, ClientConnection)
    return connection


def measured(worker: Worker) -> dict[tuple[str, str], float]:
    """The worker's samples about WebSockets by name and direction."""
    families = text_string_to_metric_families(worker.ask("/metrics").body.decode())
    samples = (sample for family in families for sample in family.samples)
    return {(s.name, s.labels.get("direction", "")): s.value for s in samples if s.name.startswith("aegis_websocket_")}


def test_messages_pings_and_close_codes(tmp_path: Path, upstream: WebSocketUpstream) -> None:
    """Text, 1 MiB of binary, a ping, and both sides' close codes arrive as they were sent; the metrics say how much."""
    binary = bytes(range(256)) * (MEBIBYTE // 256)
    with Worker(tmp_path, host("chat.test", upstream.port), keys={"chat.test": CLIENT.key_pem}) as worker:
        with chat(worker) as client:
            client.send("gr\u00fc\u00df dich")
            assert client.recv(PATIENCE_S) == "gr\u00fc\u00df dich"
            client.send(binary)
            assert client.recv(PATIENCE_S) == binary
            assert client.ping(b"are you there").wait(PATIENCE_S)
            assert measured(worker)["aegis_websocket_connections", ""] == 1
            client.close(4002, "enough")
        eventually(lambda: upstream.close_codes[-1:] == [4002], within_s=PATIENCE_S)

        with chat(worker) as client:
            client.send("close 4001")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(PATIENCE_S)
            assert (closed.value.rcvd and closed.value.rcvd.code) == 4001

        eventually(lambda: measured(worker)["aegis_websocket_connections", ""] == 0, within_s=PATIENCE_S)
        values = measured(worker)
        for direction in ("to_client", "to_upstream"):
            assert MEBIBYTE < values["aegis_websocket_bytes_total", direction] < MEBIBYTE + 500
        assert "upstream failed" not in worker.log
        assert "Traceback" not in worker.log


def test_refusals(tmp_path: Path, upstream: WebSocketUpstream) -> None:
    """A host with them switched off, and one whose certificate is not taken; the log has the diagnosis."""
    hosts = [
        host("off.test", upstream.port, websockets=False),
        host("stranger.test", upstream.port, STRANGER.chain_pem),
    ]
    keys = {"off.test": CLIENT.key_pem, "stranger.test": STRANGER.key_pem}
    with Worker(tmp_path, *hosts, keys=keys) as worker:
        with pytest.raises(InvalidStatus) as refused:
            chat(worker, "off.test")
        assert refused.value.response.status_code == 426
        with pytest.raises(InvalidStatus) as refused:
            chat(worker, "stranger.test")
        assert refused.value.response.status_code == 502
        assert "host=stranger.test" in worker.log
        # The server closes with our request unread: the reset may destroy its alert before it is read.
        assert re.search("code=client_certificate_(untrusted|rejected)", worker.log)


def test_tunnels_of_a_replaced_identity_end(tmp_path: Path, upstream: WebSocketUpstream) -> None:
    """Until their time to drain is over they work; the new identity serves at once."""
    deadlines = Deadlines(tunnel_drain_s=1.0)
    other = CLIENT_CA.client("renewed")
    keys = {"chat.test": CLIENT.key_pem}
    before = host("chat.test", upstream.port, deadlines=deadlines)
    with Worker(tmp_path, before, keys=keys) as worker, chat(worker) as client:
        client.send("before")
        assert client.recv(PATIENCE_S) == "before"
        worker.set_key("chat.test", other.key_pem)
        worker.install(host("chat.test", upstream.port, other.chain_pem, deadlines=deadlines))
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE_S)
        with chat(worker) as fresh:
            fresh.send("after")
            assert fresh.recv(PATIENCE_S) == "after"


def test_stop_of_the_worker_ends_tunnels(tmp_path: Path, upstream: WebSocketUpstream) -> None:
    """Within the deadline of the stop, in order at both ends."""
    with Worker(tmp_path, host("chat.test", upstream.port), keys={"chat.test": CLIENT.key_pem}) as worker:
        with chat(worker) as client:
            assert client.ping().wait(PATIENCE_S)
            worker.process.terminate()
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE_S)
        assert worker.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in worker.log
