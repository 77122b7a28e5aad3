"""The demo's upstream: serves nobody without a certificate of Aegis's local CA, and says whose certificate it saw.

Run as `python -m aegis_site.demo_upstream DATA_DIRECTORY ADDRESS`.
"""

import json
import socket
import ssl
import sys
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509

from aegis_site.demo import DEMO_SERVER_NAME, Demo
from aegis_site.environment import BindAddress
from aegis_site.kernel.certificates import describe

REFUSAL_READ_S = 2.0


class DemoHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with what the upstream knows about the client."""

    protocol_version = "HTTP/1.1"
    server_version = "aegis-demo-upstream"
    # Longer than the proxy keeps an idle connection, so that the proxy is the one that closes.
    timeout = 120
    connection: ssl.SSLSocket

    def setup(self) -> None:
        super().setup()
        try:
            self.connection.do_handshake()  # here, in the connection's own thread
        except ssl.SSLError:
            _let_read(self.connection)
            raise

    def do_GET(self) -> None:
        body = json.dumps(self._seen(), indent=2).encode() + b"\n"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def _seen(self) -> dict[str, Any]:
        certificate = self.connection.getpeercert(binary_form=True)
        assert certificate is not None  # noqa: S101 (CERT_REQUIRED: the handshake fails without one)
        facts = describe(x509.load_der_x509_certificate(certificate))
        return {
            "upstream": DEMO_SERVER_NAME,
            "client_certificate": {
                "subject": facts.subject,
                "issuer": facts.issuer,
                "serial_number": facts.serial_number,
            },
            "tls_version": self.connection.version(),
            "method": self.command,
            "path": self.path,
            "host": self.headers.get("Host", ""),
        }

    def log_message(self, format: str, *args: Any) -> None:
        """Not every request is worth a line."""


def _let_read(connection: ssl.SSLSocket) -> None:
    """Give the client time to read why it was refused.

    A TLS 1.3 client has sent its request by then. Closing with that unread would reset the connection, and the reset
    may destroy the alert before it is read (RFC 9112 section 9.6 describes the same for HTTP).
    """
    with suppress(OSError):
        connection.settimeout(REFUSAL_READ_S)
        connection.shutdown(socket.SHUT_WR)  # from here on Python reads the bare socket
        while connection.recv(65536):
            pass


class DemoServer(ThreadingHTTPServer):
    """HTTPS with a demanded client certificate."""

    daemon_threads = True

    def __init__(self, demo: Demo) -> None:
        self.address_family = socket.AF_INET6 if ":" in demo.address.host else socket.AF_INET
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(demo.client_ca_path))
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_cert_chain(demo.certificate_path, demo.key_path)
        super().__init__((demo.address.host, demo.address.port), DemoHandler)

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        connection, peer = super().get_request()
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line, where the base class prints a traceback."""
        error = sys.exception()
        reason = (isinstance(error, ssl.SSLError) and error.reason) or str(error) or type(error).__name__
        print(f"refused {client_address[0]}: {reason}", file=sys.stderr)  # noqa: T201 (a process of its own)


def main(data_directory: str, address: str) -> None:
    demo = Demo(Path(data_directory), BindAddress.parse(address, variable="ADDRESS"))
    try:
        server = DemoServer(demo)
    except OSError as error:
        sys.exit(f"cannot serve on {address}: {error}")
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
