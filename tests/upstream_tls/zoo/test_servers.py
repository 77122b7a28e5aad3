"""What members do with connections that no connection test makes."""

import socket
import ssl

from upstream_tls.zoo import run_zoo
from upstream_tls.zoo.servers import answer


def test_member_is_a_real_upstream_for_other_clients() -> None:
    """CPython's ssl is served as well, and is told the CA names that are accepted."""
    with run_zoo(["good-ip"]) as zoo:
        good = zoo["good-ip"]
        context = ssl.create_default_context(cadata=good.spec.ca_pem.decode())
        with (
            socket.create_connection((good.address, good.port), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname=good.address) as session,
        ):
            session.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                refusal = session.recv(100)
            except ssl.SSLError as error:
                refusal = str(error.reason).encode()
        assert refusal == b"TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_member_survives_clients_that_make_no_sense() -> None:
    """Garbage, and a client that leaves at once; the next one is served."""
    with run_zoo(["good"]) as zoo:
        address = (zoo["good"].address, zoo["good"].port)
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100)):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(data)
        with socket.create_connection(address, timeout=10):
            pass


def test_answer_is_framed() -> None:
    """Status line, length, end, body."""
    assert answer("404 Not Found", "gone") == (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone"
    )
