"""Mail servers on loopback: a real one (aiosmtpd) with TLS, STARTTLS and AUTH, and one that says what a test wants."""

import contextlib
import email
import logging
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.support.certificates import Leaf

USERNAME, PASSWORD = "aegis", "canary-smtp-5d1c"


@dataclass
class Mailbox:
    """What a server has accepted, and whether it came over TLS."""

    messages: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    host_names: list[str] = field(default_factory=list)
    refused_recipient: str = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address == self.refused_recipient:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(email.message_from_bytes(envelope.content))
        self.recipients += envelope.rcpt_tos
        self.over_tls.append(session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None)
        self.host_names.append(session.host_name)
        return "250 Message accepted for delivery"


class _Controller(Controller):
    """On a port that the system chooses."""

    def __init__(self, handler: Mailbox, *, leaf: Leaf | None, security: str, auth: bool) -> None:
        context = server_context(leaf) if leaf else None
        options: dict[str, Any] = {}
        if auth:
            # Of TLS from the first octet aiosmtpd knows nothing, and warns when it demands a sign-in without any.
            is_seen = security == "starttls"
            options = {"auth_require_tls": is_seen, "auth_required": is_seen}
            options["authenticator"] = lambda *arguments: _check(handler, arguments[-1])
        self._options = options | ({"tls_context": context} if security == "starttls" else {})
        super().__init__(handler, hostname="127.0.0.1", port=0, ssl_context=context if security == "tls" else None)

    def factory(self) -> SMTP:
        return SMTP(self.handler, ident="mail.test", hostname="mail.test", **self._options)

    def _trigger_server(self) -> None:
        """Port 0 cannot be connected to: the port is known from the listening socket."""
        (listening,) = self.server.sockets
        self.port = listening.getsockname()[1]
        super()._trigger_server()


def _check(mailbox: Mailbox, data: LoginPassword) -> AuthResult:
    mailbox.users.append(data.login.decode())
    return AuthResult(success=data == LoginPassword(USERNAME.encode(), PASSWORD.encode()), handled=False)


@contextlib.contextmanager
def mail_server(
    *, leaf: Leaf | None = None, security: str = "none", auth: bool = False, refused_recipient: str = ""
) -> Iterator[tuple[int, Mailbox]]:
    """A port of 127.0.0.1 and what arrives there."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    mailbox = Mailbox(refused_recipient=refused_recipient)
    controller = _Controller(mailbox, leaf=leaf, security=security, auth=auth)
    controller.start()
    try:
        yield controller.port, mailbox
    finally:
        controller.stop()


@contextlib.contextmanager
def scripted_server(script: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose every connection is handed to `script`, until the block ends."""
    connections: list[socket.socket] = []

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listening.accept()[0]
                connections.append(connection)
                with contextlib.suppress(OSError):
                    script(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening], daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in connections:
                connection.close()


def server_context(leaf: Leaf) -> ssl.SSLContext:
    """A TLS server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(leaf.chain_pem + leaf.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
