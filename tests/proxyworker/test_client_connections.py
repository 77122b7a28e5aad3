"""Client connections of a real worker: the PROXY protocol, trusted proxies, limits, and descriptors that run out."""

import contextlib
import dataclasses
import os
import resource
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from proxyworker.snapshot import DownstreamTLS
from tests.proxyworker.loopback import GET, host, listening, read_until
from tests.proxyworker.worker import PATIENCE_S, Upstream, Worker
from tests.support.certificates import Authority
from tests.support.polling import eventually

V1 = b"PROXY TCP4 198.51.100.1 192.0.2.1 40000 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc6\x33\x64\x01\xc0\0\2\1\x9c\x40\1\xbb\4\0\0"


def is_closed(connection: socket.socket) -> bool:
    """The worker closed it without a byte."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def is_refused(port: int) -> bool:
    """A new connection is closed without a byte; the reset may be there before connect(2) has returned."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            return is_closed(client)
    except ConnectionResetError:
        return True


def metric(worker: Worker, line_start: str) -> float:
    """The value of the first metric that begins so."""
    lines = worker.ask("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(line_start)).rpartition(" ")[2])


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_protocol(tmp_path: Path, scheme: str, header: bytes) -> None:
    """The header comes before HTTP and before TLS; the client is the one that it names."""
    leaf = Authority("Sites CA").server("app.test")
    with listening() as upstream:
        entry = dataclasses.replace(
            host(upstream.getsockname()[1]), downstream_tls=DownstreamTLS(certificate=leaf.chain_pem)
        )
        with Worker(
            tmp_path,
            entry,
            downstream_keys={"h1": leaf.key_pem},
            proxy_protocol=(scheme,),
            trusted_proxies=("127.0.0.0/8",),
        ) as worker:
            client = socket.create_connection(("127.0.0.1", getattr(worker, scheme)), timeout=PATIENCE_S)
            client.sendall(header)
            if scheme == "https":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                client = context.wrap_socket(client, server_hostname="app.test")
            with client:
                client.sendall(GET)
                backend, _ = upstream.accept()
                with backend:
                    head = read_until(backend, b"\r\n\r\n")
                    assert b"\r\nX-Forwarded-For: 198.51.100.1\r\n" in head
                    assert f"\r\nX-Forwarded-Proto: {scheme}\r\n".encode() in head
                    backend.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    read_until(client, b"ok")
            with socket.create_connection(("127.0.0.1", getattr(worker, scheme)), timeout=PATIENCE_S) as other:
                other.sendall(GET)
                assert is_closed(other)
            refused = 'aegis_client_connections_refused_total{reason="proxy_protocol"}'
            assert metric(worker, refused) == 1
            # The other listener has none of it.
            if scheme == "https":
                assert worker.get("no.test").status == 404


def test_proxy_protocol_from_a_stranger(tmp_path: Path) -> None:
    """Nobody else may name the client."""
    with Worker(tmp_path, proxy_protocol=("http",), trusted_proxies=("192.0.2.0/24",)) as worker:
        assert is_refused(worker.http)
        assert metric(worker, 'aegis_client_connections_refused_total{reason="untrusted"}') == 1


def test_limits_of_connections(tmp_path: Path) -> None:
    """429 for one client's too many, 503 over the total, TLS closed; served again when others are gone; all counted."""
    with Upstream() as upstream:
        entry = host(upstream.port)
        with Worker(tmp_path / "a", entry, max_connections_per_client=1) as worker, worker.connect() as kept:
            kept.sendall(GET)
            read_until(kept, b"upstream")
            refused = worker.get("app.test")
            assert (refused.status, dict(refused.headers)["Retry-After"]) == (429, "10")
            assert is_refused(worker.https)
            kept.close()
            eventually(lambda: worker.get("app.test").status == 200, within_s=PATIENCE_S)
            assert metric(worker, 'aegis_client_connections_refused_total{reason="client"}') >= 2
            assert "Traceback" not in worker.log
        with Worker(tmp_path / "b", entry, max_connections=1) as worker, worker.connect() as kept:
            kept.sendall(GET)
            read_until(kept, b"upstream")
            refused = worker.get("app.test")
            assert (refused.status, dict(refused.headers)["Retry-After"]) == (503, "10")
            assert metric(worker, "aegis_client_connections_limit") == 1
            assert metric(worker, 'aegis_client_connections_refused_total{reason="total"}') == 1


def test_descriptors_that_run_out(tmp_path: Path) -> None:
    """Who comes then is closed; the worker neither spins nor stops accepting, and serves when there are some again."""
    with Upstream() as upstream, Worker(tmp_path, host(upstream.port)) as worker, contextlib.ExitStack() as clients:
        assert worker.get("app.test").status == 200
        pid = worker.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 8, hard))
        many = [clients.enter_context(worker.connect()) for _ in range(30)]
        assert is_closed(many[-1])
        cpu_s = _cpu_s(pid)
        assert is_closed(many[-2])
        clients.close()
        eventually(lambda: _status(worker) == 200, within_s=PATIENCE_S)
        assert _cpu_s(pid) - cpu_s < 2
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert worker.get("app.test").status == 200


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(worker: Worker) -> int:
    try:
        return worker.get("app.test").status
    except OSError:
        return 0


def test_more_connections_than_descriptors(tmp_path: Path) -> None:
    """The worker does not start with a promise that it cannot keep."""
    worker = Worker(tmp_path, max_connections=100_000_000)
    worker.start()
    try:
        assert worker.process.wait(PATIENCE_S) != 0
    except subprocess.TimeoutExpired:
        pytest.skip("this machine has no limit on descriptors")
    finally:
        worker.kill()
    assert "100000000 connections need 200000256 file descriptors" in worker.log
