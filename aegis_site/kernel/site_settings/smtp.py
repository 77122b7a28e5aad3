"""Sending one mail through an SMTP server, and saying what became of it.

Laws of this module:
- A server proves who it is, by the given CA certificates or by the system trust store; there is no way around it.
- A password goes over verified TLS only, and never comes back: not in an answer of the server, not in a traceback.
- Never raises for what the network or the server does: the outcome is a `Delivery`, which is safe to show.
- What there is to say about a failure stands in one table, by code. Codes never change their meaning.
"""

import base64
import contextlib
import enum
import smtplib
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import EmailMessage

from aegis_site.kernel.site_settings.smtp_connection import (
    Conversation,
    Deadline,
    TooMuchSaid,
    connect,
    look_up,
    shake_hands,
)

MAX_SHOWN_CHARACTERS = 300


class Security(enum.StrEnum):
    """How a connection is protected: not at all, by STARTTLS (RFC 3207), or from its first octet (RFC 8314)."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class Stage(enum.StrEnum):
    """The steps of a delivery, in their order."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    SEND = "send"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where to deliver. Without a username nobody signs in; without CA certificates the system trust store counts."""

    host: str
    port: int
    security: Security
    username: str = ""
    password: str = field(default="", repr=False)
    ca_certificate: str = ""

    def __post_init__(self) -> None:
        if self.username and self.security is Security.NONE:
            raise ValueError("a password is sent over TLS only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a mail. `stage` is the last one begun; `server_answer` its last words, if it refused."""

    success: bool
    stage: Stage
    code: str
    message: str
    server_answer: str
    duration_ms: int


class StartTlsNotOffered(Exception):
    """The server cannot do STARTTLS, or somebody in between has taken the offer out."""


MESSAGES = {
    "": "The server has accepted the mail.",
    "timeout": "The time was over before the server had finished.",
    "unknown_host": "There is no such host: the DNS knows no address for it.",
    "connection_refused": "Nothing listens on this port of the host.",
    "unreachable": "The host cannot be reached from here.",
    "no_greeting": "The port is open, but no mail server greets. A port such as 465 waits for TLS: choose TLS.",
    "not_smtp": "What answers is no mail server.",
    "greeting_refused": "The server does not want to talk with Aegis.",
    "starttls_not_offered": "The server does not offer STARTTLS on this port. Choose TLS, or another port.",
    "not_tls": "The port does not speak TLS from the start. Choose STARTTLS, or another port such as 465.",
    "tls_failed": "The TLS handshake failed.",
    "unknown_authority": "Nobody who is trusted has signed the server's certificate. Enter the CA certificate.",
    "wrong_name": "The server's certificate is for another name. Enter the name in the certificate as host.",
    "expired_certificate": "The server's certificate has expired, or is not valid yet.",
    "certificate_refused": "The server's certificate cannot be accepted.",
    "authentication_not_offered": "The server offers no way to sign in that Aegis knows (CRAM-MD5, PLAIN, LOGIN).",
    "authentication_refused": "The server does not accept this username and password.",
    "sender_refused": "The server does not accept the sender's address.",
    "recipients_refused": "The server does not accept a recipient's address.",
    "message_refused": "The server does not accept the mail.",
    "connection_closed": "The connection ended before the server had finished.",
}

# X509_V_ERR_… of openssl/x509_vfy.h.
_VERIFY_CODES = {
    9: "expired_certificate",  # not yet valid
    10: "expired_certificate",
    18: "unknown_authority",  # self-signed
    19: "unknown_authority",  # self-signed in the chain
    20: "unknown_authority",
    21: "unknown_authority",
    62: "wrong_name",
    64: "wrong_name",  # of an address
}

# Most specific first.
_CODES: list[tuple[type[Exception], str]] = [
    (StartTlsNotOffered, "starttls_not_offered"),
    (TooMuchSaid, "not_smtp"),
    (socket.gaierror, "unknown_host"),
    (ConnectionRefusedError, "connection_refused"),
    (smtplib.SMTPAuthenticationError, "authentication_refused"),
    (smtplib.SMTPSenderRefused, "sender_refused"),
    (smtplib.SMTPRecipientsRefused, "recipients_refused"),
    (smtplib.SMTPDataError, "message_refused"),
]

_CODES_OF_ANSWERS = {
    Stage.CONNECT: "greeting_refused",
    Stage.TLS: "starttls_not_offered",
    Stage.AUTH: "authentication_refused",
    Stage.SEND: "message_refused",
}


def deliver(server: SmtpServer, message: EmailMessage, *, timeout_s: float) -> Delivery:
    """Send `message` to those that it names. Blocks for at most `timeout_s`, whatever the server does."""
    return _Attempt(server, timeout_s).run(message)


class _Attempt:
    """One delivery under way."""

    def __init__(self, server: SmtpServer, timeout_s: float) -> None:
        self._server = server
        self._deadline = Deadline(timeout_s)
        self._begun = time.monotonic()
        self._stage = Stage.DNS
        self._is_connected = False

    def run(self, message: EmailMessage) -> Delivery:
        try:
            with contextlib.ExitStack() as resources:
                self._deliver(message, resources)
        except (OSError, StartTlsNotOffered, ValueError) as error:
            return self._ended(self._code_of(error), _answer_in(error))
        return self._ended("", "")

    def _deliver(self, message: EmailMessage, resources: contextlib.ExitStack) -> None:
        server = self._server
        addresses = look_up(server.host, server.port, self._deadline)
        self._stage = Stage.CONNECT
        connection = connect(addresses, self._deadline)
        resources.callback(connection.close)
        self._is_connected = True
        context = _context(server)
        if server.security is Security.TLS:
            self._stage = Stage.TLS
            connection = shake_hands(connection, context, server.host, self._deadline)
            self._stage = Stage.CONNECT
        client = Conversation(connection, self._deadline)
        resources.callback(client.close)
        self._greet(client)
        if server.security is Security.STARTTLS:
            self._start_tls(client, context)
        if server.username:
            self._stage = Stage.AUTH
            client.login(server.username, server.password)
        self._stage = Stage.SEND
        if refused := client.send_message(message):
            raise smtplib.SMTPRecipientsRefused(refused)
        # The mail is on its way; how the server says goodbye changes nothing.
        with contextlib.suppress(OSError):
            client.quit()

    def _greet(self, client: Conversation) -> None:
        code, answer = client.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, answer)
        client.ehlo_or_helo_if_needed()

    def _start_tls(self, client: Conversation, context: ssl.SSLContext) -> None:
        self._stage = Stage.TLS
        if not client.has_extn("starttls"):
            raise StartTlsNotOffered
        client.secure(context, self._server.host)
        client.ehlo_or_helo_if_needed()

    def _code_of(self, error: Exception) -> str:
        # smtplib makes SMTPServerDisconnected of whatever ended the connection.
        if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(error.__context__, OSError):
            error = error.__context__
        if isinstance(error, TimeoutError) or self._deadline.is_over:
            return "no_greeting" if self._stage is Stage.CONNECT and self._is_connected else "timeout"
        for kind, code in _CODES:
            if isinstance(error, kind):
                return code
        if isinstance(error, ssl.SSLError):
            return _code_of_tls(error)
        return self._code_of_stage(error)

    def _code_of_stage(self, error: Exception) -> str:
        """For what may happen at several stages."""
        if isinstance(error, smtplib.SMTPResponseException):
            return _CODES_OF_ANSWERS[self._stage] if 200 <= error.smtp_code < 600 else "not_smtp"
        if self._stage is Stage.CONNECT and not self._is_connected:
            return "unreachable"
        if isinstance(error, ValueError):
            return "not_smtp"
        # What is left of smtplib's exceptions, which are OSErrors too, is that it knows no way to sign in.
        is_unable = isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPServerDisconnected)
        return "authentication_not_offered" if is_unable and self._stage is Stage.AUTH else "connection_closed"

    def _ended(self, code: str, answer: str) -> Delivery:
        return Delivery(
            success=not code,
            stage=self._stage,
            code=code,
            message=MESSAGES[code],
            server_answer=_shown(answer, self._server),
            duration_ms=round((time.monotonic() - self._begun) * 1000),
        )


def _context(server: SmtpServer) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=server.ca_certificate or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.ca_certificate:
        # What was entered is what is trusted, an intermediate CA as well, as towards upstreams.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _code_of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, "certificate_refused")
    return "not_tls" if error.reason in {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"} else "tls_failed"


def _answer_in(error: Exception) -> str:
    """The server's last words, with their code."""
    answers: Iterable[tuple[int, bytes | str]] = ()
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = error.recipients.values()
    elif isinstance(error, smtplib.SMTPResponseException):
        answers = [(error.smtp_code, error.smtp_error)]
    for code, words in answers:
        text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
        return f"{code} {text}" if code > 0 else text
    return ""


def _shown(answer: str, server: SmtpServer) -> str:
    """Bounded, printable, and without the password: a server may repeat what was said to it."""
    for secret in _spellings(server):
        answer = answer.replace(secret, "…")
    text = "".join(character if character.isprintable() else " " for character in answer)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 1] + "…"


def _spellings(server: SmtpServer) -> list[str]:
    """The password as PLAIN (RFC 4616) and LOGIN send it, and as it is."""
    if not server.password:
        return []
    plain = f"\0{server.username}\0{server.password}"
    encoded = [base64.b64encode(text.encode()).decode("ascii") for text in (plain, server.password)]
    return [*encoded, *(text.rstrip("=") for text in encoded), server.password]
