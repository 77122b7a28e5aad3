"""posting: one POST, to real servers on loopback."""

import contextlib
import http.client
import socket
import ssl
import threading
import time

import pytest

from aegis_site.kernel.notifications.posting import post
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.receiver import receiver
from tests.support.smtp import server_context

CA = Authority("Hooks CA")


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The system trust store holds our CA."""
    path = tmp_path_factory.mktemp("trust") / "ca.pem"
    path.write_text(CA.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


def test_a_post_over_tls(trust: None) -> None:
    """The server's certificate is verified, path and query are as entered, and the answer is there."""
    with receiver(leaf=CA.server("localhost"), status=429, body=b"slow down", fields={"Retry-After": "7"}) as there:
        url = f"https://localhost:{there.port}/a/b?c=d"
        answer = post(url, fields={"X-One": "1"}, body=b"{}", timeout_s=5)
    assert (answer.status, answer.body, answer.retry_after) == (429, "slow down", "7")
    [request] = there.requests
    assert (request.path, request.body) == ("/a/b?c=d", b"{}")
    assert (request.fields["Host"], request.fields["X-One"]) == (f"localhost:{there.port}", "1")
    assert request.fields["User-Agent"] == "Aegis"


@pytest.mark.parametrize("leaf", [CA.server("other.example"), Authority("Somebody").server("localhost")])
def test_a_certificate_that_is_not_good_ends_it(trust: None, leaf: object) -> None:
    """Another name, or another CA: nothing is sent."""
    with receiver(leaf=leaf) as there, pytest.raises(ssl.SSLCertVerificationError):  # type: ignore[arg-type]
        post(f"https://localhost:{there.port}/", fields={}, body=b"secret", timeout_s=5)
    assert there.requests == []


def test_redirects_are_not_followed() -> None:
    """What is secret goes to the place that was entered."""
    with receiver() as other:
        location = f"http://127.0.0.1:{other.port}/"
        with receiver(status=307, fields={"Location": location}) as there:
            assert post(f"http://127.0.0.1:{there.port}/", fields={}, body=b"x", timeout_s=5).status == 307
    assert other.requests == []


def test_of_an_answer_the_beginning_is_read() -> None:
    """However much comes."""
    with receiver(status=500, body=b"x" * 500_000) as there:
        assert 0 < len(post(f"http://127.0.0.1:{there.port}/", fields={}, body=b"", timeout_s=5).body) <= 2000


def scripted(answer: bytes, *, again: int = 1) -> int:
    """The port of a server that says this, an octet at a time if it is to be said often."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            try:
                for _ in range(again):
                    connection.sendall(answer)
                    if again > 1:
                        time.sleep(0.02)
                connection.recv(1)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


@pytest.mark.parametrize(("answer", "again"), [(b"", 1), (b"H", 10_000), (b"HTTP/1.1 200 OK\r\nX: y\r\n", 1)])
def test_it_is_over_in_time(answer: bytes, again: int) -> None:
    """Whether the receiver says nothing, or a little now and then."""
    begun = time.monotonic()
    with pytest.raises((OSError, http.client.HTTPException)):
        post(f"http://127.0.0.1:{scripted(answer, again=again)}/", fields={}, body=b"", timeout_s=0.3)
    assert time.monotonic() - begun < 5


def test_an_endless_head_ends_it() -> None:
    """No more than is needed is kept."""
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: " % n + b"y" * 1000 + b"\r\n" for n in range(200))
    with pytest.raises((OSError, http.client.HTTPException)):
        post(f"http://127.0.0.1:{scripted(head)}/", fields={}, body=b"", timeout_s=5)


def test_nobody_there() -> None:
    """The reason is the system's."""
    with pytest.raises(ConnectionRefusedError):
        post(f"http://127.0.0.1:{free_port()}/", fields={}, body=b"", timeout_s=5)


def test_a_receiver_that_reads_slowly_is_given_up(trust: None) -> None:
    """All records of TLS have one deadline together."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        context = server_context(CA.server("localhost"))
        with listening, contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with context.wrap_socket(connection, server_side=True) as session:
                while session.recv(65_536):
                    time.sleep(0.02)

    threading.Thread(target=serve, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        post(f"https://localhost:{listening.getsockname()[1]}/", fields={}, body=b"x" * 20_000_000, timeout_s=0.5)
    assert time.monotonic() - begun < 5
