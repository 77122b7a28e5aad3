"""One worker process on real sockets: its start, its traffic, its memory, its end."""

import contextlib
import dataclasses
import os
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from OpenSSL import SSL
from prometheus_client.parser import text_string_to_metric_families

from proxyworker.snapshot import DownstreamTLS, HostEntry
from tests.proxyworker.loopback import GET, host, listening, read_until
from tests.proxyworker.worker import PATIENCE_S, Upstream, Worker
from tests.support.certificates import Authority, Leaf
from tests.support.polling import eventually

T = TypeVar("T")


def accept(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(PATIENCE_S)
    return connection


def test_from_start_to_stop(tmp_path: Path) -> None:
    """Serves http and https, follows its feed, tells its metrics, and ends in order."""
    with Upstream("one") as one, Upstream("two") as two, Worker(tmp_path, host(one.port)) as worker:
        assert worker.get("app.test").body == b"one"
        assert worker.get("other.test").status == 404

        insecure = ssl.create_default_context()
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", worker.https), timeout=PATIENCE_S)
        with insecure.wrap_socket(plain, server_hostname="app.test") as client:
            client.sendall(GET)
            assert read_until(client, b"one").startswith(b"HTTP/1.1 200 OK\r\n")

        with worker.connect() as kept:
            kept.sendall(GET)
            read_until(kept, b"one")
            worker.install(host(two.port))
            eventually(lambda: worker.get("app.test").body == b"two", within_s=PATIENCE_S)
            kept.sendall(GET)
            read_until(kept, b"two")

            metrics = worker.ask("/metrics").body.decode()
            values = {s.name: s.value for family in text_string_to_metric_families(metrics) for s in family.samples}
            assert values["aegis_configuration_generation"] == 2
            assert values["aegis_worker_compiled"] == int(os.environ["TESTS_COMPILED"])
            assert values["aegis_hosts_accepted"] == 1
            assert values["aegis_client_connections"] == 1

        assert worker.ask("/healthz").status == 200
        assert worker.stop() == 0
        assert "Traceback" not in worker.log
        assert "report: generation 2, accepted 1" in worker.log


def test_not_ready_before_the_first_load(tmp_path: Path) -> None:
    """No listener is open and /readyz says why, as long as the feed is away."""
    worker = Worker(tmp_path)
    worker.install(None)
    worker.start()
    try:
        answer = eventually(lambda: _answer(worker), within_s=PATIENCE_S)
        assert answer == (503, {"status": "unavailable", "reason": "the configuration is not loaded yet"})
        with pytest.raises(ConnectionRefusedError):
            worker.connect()
        worker.install()
        eventually(worker.is_ready, within_s=PATIENCE_S)
        assert worker.get("app.test").status == 404
    finally:
        worker.kill()


def _answer(worker: Worker) -> tuple[int, object] | None:
    try:
        answer = worker.ask("/readyz")
    except OSError:
        return None
    return answer.status, answer.json


def test_stop_finishes_what_was_begun(tmp_path: Path) -> None:
    """No new connection is taken, the idle one closes at once, the request under way is answered to its end."""
    with listening() as upstream, Worker(tmp_path, host(upstream.getsockname()[1])) as worker:
        with worker.connect() as idle, worker.connect() as busy:
            busy.sendall(GET)
            backend = accept(upstream)
            read_until(backend, b"\r\n\r\n")
            worker.process.terminate()
            assert idle.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                worker.connect()
            backend.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            answer = read_until(busy, b"done")
            assert b"\r\nConnection: close\r\n" in answer
            assert busy.recv(1) == b""
            backend.close()
        assert worker.process.wait(PATIENCE_S) == 0


class SlowClient:
    """A client of https whose ClientHello comes in two pieces."""

    def __init__(self, port: int) -> None:
        insecure = ssl.create_default_context()
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = insecure.wrap_bio(self._incoming, self._outgoing, server_hostname="app.test")
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        with pytest.raises(ssl.SSLWantReadError):
            self._session.do_handshake()
        self._connection.sendall(self._outgoing.read(20))

    def go_on(self) -> bytes:
        """The rest, and a request. What is answered."""
        self._run(self._session.do_handshake)
        self._session.write(GET)
        answer = self._run(lambda: self._session.read(65_536))
        self._connection.close()
        return answer

    def _run(self, step: Callable[[], T]) -> T:
        while True:
            self._connection.sendall(self._outgoing.read())
            try:
                return step()
            except ssl.SSLWantReadError:
                self._connection.sendall(self._outgoing.read())
                self._incoming.write(self._connection.recv(65_536))


def test_who_was_let_in_before_the_stop_is_served(tmp_path: Path) -> None:
    """In a handshake, or before the first byte of a request: neither could tell that it was not served."""
    with Upstream("one") as one, Worker(tmp_path, host(one.port)) as worker, worker.connect() as plain:
        encrypted = SlowClient(worker.https)
        eventually(lambda: b"\naegis_client_connections 2.0" in worker.ask("/metrics").body, within_s=PATIENCE_S)
        worker.process.terminate()
        eventually(lambda: not takes_connections(worker), within_s=PATIENCE_S)
        assert b"\r\nConnection: close\r\n" in encrypted.go_on()
        plain.sendall(GET)
        assert b"\r\nConnection: close\r\n" in read_until(plain, b"one")
        assert worker.process.wait(PATIENCE_S) == 0


def takes_connections(worker: Worker) -> bool:
    try:
        worker.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def test_drain_delay_comes_before_the_drain(tmp_path: Path) -> None:
    """/readyz says 503 at once; connections are taken, and changes followed, until the delay is over."""
    with (
        Upstream("one") as one,
        Upstream("two") as two,
        Worker(tmp_path, host(one.port), drain_delay_s=3) as worker,
    ):
        worker.process.terminate()
        eventually(lambda: worker.ask("/readyz").status == 503, within_s=2)
        assert worker.ask("/readyz").json["reason"] == "the worker is stopping"
        assert worker.get("app.test").body == b"one"
        worker.install(host(two.port))
        eventually(lambda: worker.get("app.test").body == b"two", within_s=2)
        assert worker.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in worker.log


def test_a_second_signal_ends_the_worker_at_once(tmp_path: Path) -> None:
    """A moment after the first, that is: who sends it to the process and to its group means one."""
    with Worker(tmp_path, drain_delay_s=300) as worker:
        worker.process.terminate()
        eventually(lambda: worker.ask("/readyz").status == 503, within_s=PATIENCE_S)
        worker.process.terminate()
        assert worker.ask("/healthz").status == 200

        def has_ended() -> bool:
            worker.process.terminate()
            return worker.process.poll() is not None

        eventually(has_ended, within_s=PATIENCE_S, every_s=0.1)
        assert worker.process.returncode == -signal.SIGTERM
        assert "Traceback" not in worker.log


@pytest.mark.parametrize("taken", ["management", "http", "https"])
def test_port_that_is_taken_ends_the_worker(tmp_path: Path, taken: str) -> None:
    """With a line that says so and a status that a supervisor understands; it used to run on without any use."""
    worker = Worker(tmp_path)
    with socket.create_server(("127.0.0.1", getattr(worker, taken))):
        worker.start()
        try:
            assert worker.process.wait(PATIENCE_S) == 1
        finally:
            worker.kill()
    assert "CRITICAL aegis.proxy cannot listen: " in worker.log


def test_refused_client_reads_its_answer_although_it_sends_more(tmp_path: Path) -> None:
    """A close over unread bytes would reset the connection, and the answer with it."""
    with Worker(tmp_path) as worker, worker.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        answer = read_until(client, b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        for _ in range(50):
            client.sendall(b"x" * 10_000)
        while client.recv(65_536):
            pass


def test_half_closed_client_reads_its_answer(tmp_path: Path) -> None:
    """As `nc -N` and some health checkers ask; it goes on to the end although the client said all."""
    with (
        listening() as upstream,
        Worker(tmp_path, host(upstream.getsockname()[1])) as worker,
        worker.connect() as client,
    ):
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        with accept(upstream) as backend:
            read_until(backend, b"\r\n\r\n")
            backend.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            read_until(client, b"\r\n\r\n")
            backend.sendall(b"x" * 999_999 + b"!")
            assert read_until(client, b"!").count(b"x") == 999_999
        assert client.recv(1) == b""


def test_client_that_ends_its_half_of_a_tls_session_reads_its_answer(tmp_path: Path) -> None:
    """close_notify and the end of the stream's half behind the request; the answer ends with close_notify."""
    with Upstream("one") as one, Worker(tmp_path, host(one.port)) as worker:
        with socket.create_connection(("127.0.0.1", worker.https), timeout=PATIENCE_S) as plain:
            plain.setblocking(True)  # pyOpenSSL would report the wait of a socket with a timeout
            client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), plain)
            client.set_tlsext_host_name(b"app.test")
            client.set_connect_state()
            client.sendall(GET)
            client.shutdown()
            client.sock_shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(SSL.ZeroReturnError):
                while True:
                    answer += client.recv(65_536)
        assert answer.endswith(b"\r\n\r\none")


def test_gone_client_ends_its_answer(tmp_path: Path) -> None:
    """It looks half-closed until the first bytes of the answer show that nobody is there; the upstream is told."""
    with listening() as upstream, Worker(tmp_path, host(upstream.getsockname()[1])) as worker:
        with worker.connect() as client:
            client.sendall(GET)
            backend = accept(upstream)
            read_until(backend, b"\r\n\r\n")
        with backend:
            backend.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

            def is_cut_off() -> bool:
                try:
                    backend.sendall(b"1\r\nx\r\n")
                except ConnectionError:
                    return True
                return False

            eventually(is_cut_off, within_s=PATIENCE_S)


def test_broken_off_http_10_answer_is_reset(tmp_path: Path) -> None:
    """A body that ends with the connection must not look complete when it is not."""
    with (
        listening() as upstream,
        Worker(tmp_path, host(upstream.getsockname()[1])) as worker,
        worker.connect() as client,
    ):
        client.sendall(GET.replace(b"1.1", b"1.0"))
        with accept(upstream) as backend:
            read_until(backend, b"\r\n\r\n")
            backend.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            read_until(client, b"half")
            backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_memory_is_bounded_when_a_client_does_not_read(tmp_path: Path) -> None:
    """Of a 50 MB response the sockets' buffers hold something, the worker next to nothing."""
    with (
        listening() as upstream,
        Worker(tmp_path, host(upstream.getsockname()[1])) as worker,
        worker.connect() as client,
    ):
        client.sendall(GET)
        with accept(upstream) as backend:
            read_until(backend, b"\r\n\r\n")
            before = worker.rss_bytes
            sent = _send_until_blocked(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n", 52_428_800)
            assert sent < 40_000_000
            assert worker.rss_bytes - before < 8_000_000


def test_memory_is_bounded_when_an_upstream_does_not_read(tmp_path: Path) -> None:
    """The same for a 50 MB request."""
    with (
        listening() as upstream,
        Worker(tmp_path, host(upstream.getsockname()[1])) as worker,
        worker.connect() as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 52428800\r\n\r\n")
        with accept(upstream):
            before = worker.rss_bytes
            assert _send_until_blocked(client, b"", 52_428_800) < 40_000_000
            assert worker.rss_bytes - before < 8_000_000


def _send_until_blocked(connection: socket.socket, head: bytes, size: int) -> int:
    """How much could be sent before nothing was taken for a while."""
    connection.sendall(head)
    connection.settimeout(0.3)
    sent = 0
    piece = b"x" * 262_144
    with contextlib.suppress(TimeoutError):
        while sent < size:
            sent += connection.send(piece[: size - sent])
    return sent


def test_settings_do_not_change() -> None:
    """Where a worker listens is fixed at its start."""
    from proxyworker.service import ServiceSettings

    settings = ServiceSettings(http=(), https=(), management=("127.0.0.1", 0), redis_url="", version="", worker_id="")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.version = "x"  # type: ignore[misc]


def test_certificates_per_host(tmp_path: Path) -> None:
    """By the name that the client asks for, exact or wildcard; a change is shown without a restart, the key nowhere."""
    ca = Authority("Sites CA")
    leaves = {"h1": ca.server("app.test"), "h2": ca.server("*.wild.test")}
    renewed = ca.server("app.test")
    keys = {host_id: leaf.key_pem for host_id, leaf in leaves.items()}
    trusting = ssl.create_default_context(cadata=ca.pem)

    def serial_shown(name: str) -> int:
        plain = socket.create_connection(("127.0.0.1", worker.https), timeout=PATIENCE_S)
        with trusting.wrap_socket(plain, server_hostname=name) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: " + name.encode() + b"\r\n\r\n")
            assert b"max-age=600" in read_until(client, b"one")
            return x509.load_der_x509_certificate(client.getpeercert(binary_form=True) or b"").serial_number

    with Upstream("one") as one:

        def site(host_id: str, domain: str, leaf: Leaf) -> HostEntry:
            downstream = DownstreamTLS(certificate=leaf.chain_pem, force_https=True, hsts_max_age_s=600)
            return dataclasses.replace(host(one.port, domain, host_id), downstream_tls=downstream)

        hosts = [site("h1", "app.test", leaves["h1"]), site("h2", "*.wild.test", leaves["h2"])]
        with Worker(tmp_path, *hosts, downstream_keys=keys) as worker:
            assert serial_shown("app.test") == leaves["h1"].certificate.serial_number
            assert serial_shown("a.wild.test") == leaves["h2"].certificate.serial_number
            with pytest.raises(ssl.SSLCertVerificationError):
                serial_shown("unknown.test")
            redirect = worker.get("app.test", "/a?b")
            assert (redirect.status, dict(redirect.headers)["Location"]) == (
                308,
                f"https://app.test:{worker.https}/a?b",
            )
            worker.downstream_keys["h1"] = renewed.key_pem
            worker.install(site("h1", "app.test", renewed), hosts[1])
            renewed_serial = renewed.certificate.serial_number
            eventually(lambda: serial_shown("app.test") == renewed_serial, within_s=PATIENCE_S)
            worker.downstream_keys["h1"] = leaves["h1"].key_pem
            worker.install(site("h1", "app.test", renewed), hosts[1])
            eventually(lambda: "HTTPS is refused: key_mismatch" in worker.log, within_s=PATIENCE_S)
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                serial_shown("app.test")
            assert serial_shown("a.wild.test") == leaves["h2"].certificate.serial_number
            for leaf in (*leaves.values(), renewed):
                assert leaf.key_pem.splitlines()[1] not in worker.log
