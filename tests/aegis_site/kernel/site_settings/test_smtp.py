"""Delivering a mail to real servers, and to such as break every rule."""

import base64
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from aegis_site.kernel.site_settings import smtp
from aegis_site.kernel.site_settings.smtp import MESSAGES, Delivery, Security, SmtpServer, Stage, deliver
from tests.support.certificates import Authority, expired, not_yet_valid
from tests.support.ports import free_port
from tests.support.smtp import PASSWORD, USERNAME, Mailbox, mail_server, scripted_server, server_context

CA = Authority("Mail CA")
LEAF = CA.server("127.0.0.1")

# Above what a busy machine needs, far below what a test may take.
LONG_S = 20.0

OK = b"250 x\r\n"


def message() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "aegis@example.com", "ops@example.com", "Test"
    mail.set_content("Hello.")
    return mail


def send(port: int, *, timeout_s: float = LONG_S, **options: Any) -> Delivery:
    values = {"host": "127.0.0.1", "security": Security.NONE, **options}
    return deliver(SmtpServer(port=port, **values), message(), timeout_s=timeout_s)


def signed_in(security: Security, **options: Any) -> dict[str, Any]:
    return {
        "security": security,
        "username": USERNAME,
        "password": PASSWORD,
        "ca_certificate": CA.pem,
        **options,
    }


@pytest.fixture(scope="module", params=["starttls", "tls"])
def secured(request: pytest.FixtureRequest) -> Iterator[tuple[int, Mailbox, Security]]:
    """A server with TLS in either way that demands a sign-in."""
    with mail_server(leaf=LEAF, security=request.param, auth=True) as (port, mailbox):
        yield port, mailbox, Security(request.param)


def test_a_mail_over_verified_tls(secured: tuple[int, Mailbox, Security]) -> None:
    """It arrives over TLS, signed in, as it was composed; EHLO tells an address and asks the DNS for no name."""
    port, mailbox, security = secured
    mailbox.messages.clear()
    delivery = send(port, **signed_in(security))
    assert (delivery.success, delivery.stage, delivery.code, delivery.server_answer) == (True, Stage.SEND, "", "")
    assert delivery.message == "The server has accepted the mail."
    (mail,) = mailbox.messages
    assert mail["Subject"] == "Test"
    assert str(mail.get_payload()).strip() == "Hello."
    assert mailbox.over_tls[-1]
    assert mailbox.users[-1] == USERNAME
    assert mailbox.host_names[-1] == "[127.0.0.1]"


def test_a_wrong_password(secured: tuple[int, Mailbox, Security]) -> None:
    """The stage is `auth`, and the answer is the server's own."""
    port, _, security = secured
    delivery = send(port, **signed_in(security, password="wrong"))
    assert (delivery.success, delivery.stage, delivery.code) == (False, Stage.AUTH, "authentication_refused")
    assert delivery.server_answer.startswith("535 5.7.8")


def test_a_server_of_another_ca(secured: tuple[int, Mailbox, Security]) -> None:
    """Neither another CA nor the system trust store lets it pass, and nobody signs in."""
    port, mailbox, security = secured
    users = len(mailbox.users)
    for trusted in (Authority("Other CA").pem, ""):
        delivery = send(port, **signed_in(security, ca_certificate=trusted))
        assert (delivery.stage, delivery.code) == (Stage.TLS, "unknown_authority")
    assert len(mailbox.users) == users


@pytest.mark.parametrize(
    ("leaf", "code"),
    [
        (CA.server("mail.example.com"), "wrong_name"),
        (CA.server("127.0.0.2"), "wrong_name"),
        (CA.server("127.0.0.1", **expired()), "expired_certificate"),
        (CA.server("127.0.0.1", **not_yet_valid()), "expired_certificate"),
    ],
)
def test_a_certificate_that_is_not_good(leaf: Any, code: str) -> None:
    """The server has to be the one that was named, now."""
    with mail_server(leaf=leaf, security="tls") as (port, mailbox):
        assert send(port, security=Security.TLS, ca_certificate=CA.pem).code == code
        assert mailbox.messages == []


def test_an_intermediate_ca_is_enough() -> None:
    """What was entered is trusted, without the root above it; the name counts as ever."""
    intermediate = Authority("Intermediate CA", parent=CA)
    for name, code in (("127.0.0.1", ""), ("mail.example.com", "wrong_name")):
        with mail_server(leaf=intermediate.server(name), security="tls") as (port, _):
            assert send(port, security=Security.TLS, ca_certificate=intermediate.pem).code == code


def test_a_server_without_tls() -> None:
    """Mail without a sign-in may go in clear; a server that offers no STARTTLS gets nothing when it is asked for."""
    with mail_server() as (port, mailbox):
        assert send(port).success
        assert mailbox.over_tls == [False]
        delivery = send(port, **signed_in(Security.STARTTLS))
        assert (delivery.stage, delivery.code) == (Stage.TLS, "starttls_not_offered")
        assert send(port, **signed_in(Security.TLS)).code == "not_tls"
        assert len(mailbox.messages) == 1
        assert mailbox.users == []


def test_a_password_in_clear() -> None:
    """There is no such delivery."""
    with pytest.raises(ValueError, match="over TLS only"):
        SmtpServer(host="mail", port=25, security=Security.NONE, username="u", password="p")


def test_a_server_without_sign_in() -> None:
    """Who signs in at a server that offers none is told so."""
    with mail_server(leaf=LEAF, security="tls") as (port, _):
        delivery = send(port, **signed_in(Security.TLS))
    assert (delivery.stage, delivery.code) == (Stage.AUTH, "authentication_not_offered")


def test_a_refused_recipient() -> None:
    """The answer says why."""
    with mail_server(refused_recipient="ops@example.com") as (port, _):
        delivery = send(port)
    assert (delivery.stage, delivery.code) == (Stage.SEND, "recipients_refused")
    assert delivery.server_answer == "550 5.1.1 no such user"


def test_nobody_is_there() -> None:
    """No such name, and no such port."""
    delivery = send(25, host="mail.invalid")
    assert (delivery.stage, delivery.code) == (Stage.DNS, "unknown_host")
    delivery = send(free_port())
    assert (delivery.stage, delivery.code) == (Stage.CONNECT, "connection_refused")


def test_a_name_that_the_dns_cannot_hold() -> None:
    """It is an unknown host like any other."""
    assert send(25, host="a" * 64 + ".example.com").code == "unknown_host"


def _speak(*answers: bytes) -> Callable[[socket.socket], None]:
    """Greets, then answers one line after the other."""

    def script(connection: socket.socket) -> None:
        connection.sendall(answers[0])
        for answer in answers[1:]:
            connection.recv(4096)
            connection.sendall(answer)
        connection.recv(4096)
        connection.shutdown(socket.SHUT_RDWR)

    return script


@pytest.mark.parametrize(
    ("answers", "stage", "code", "shown"),
    [
        ((b"554 go away\r\n",), Stage.CONNECT, "greeting_refused", "554 go away"),
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), Stage.CONNECT, "not_smtp", "2.0-OpenSSH_9.2"),
        ((b"220 x\r\n", b"500 no\r\n", b"500 no\r\n"), Stage.CONNECT, "greeting_refused", "500 no"),
        ((b"220 x\r\n", b"250 x\r\n", b"553 not you\r\n"), Stage.SEND, "sender_refused", "553 not you"),
        ((b"220 x\r\n", b"250 x\r\n"), Stage.SEND, "connection_closed", ""),
        ((b"220 x\r\n",), Stage.CONNECT, "connection_closed", ""),
        ((b"220 x\r\n", *(OK,) * 3, b"554 spam\r\n"), Stage.SEND, "message_refused", "554 spam"),
        ((b"220 x\r\n", OK, OK, b"550 \xff\x1b[31mno\r\n"), Stage.SEND, "recipients_refused", "550 \ufffd [31mno"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_want(answers: tuple[bytes, ...], stage: Stage, code: str, shown: str) -> None:
    """Each refusal has its stage, its code, and the words of the server, printable."""
    with scripted_server(_speak(*answers)) as port:
        delivery = send(port)
    assert (delivery.success, delivery.stage, delivery.code, delivery.server_answer) == (False, stage, code, shown)
    assert delivery.message == MESSAGES[code]


def _hang(connection: socket.socket) -> None:
    connection.recv(4096)


def _drip(connection: socket.socket, beginning: bytes = b"2") -> None:
    """An octet now and then: each read succeeds, so a limit for each of them would never end it."""
    connection.sendall(beginning)
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"2")
        try:
            if not connection.recv(4096):
                return
        except TimeoutError:
            pass


def _drip_tls(connection: socket.socket) -> None:
    """The same inside of a handshake: the head of a record of 16 KiB, and then its octets."""
    _drip(connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")


def _greet_and_hang(connection: socket.socket) -> None:
    connection.sendall(b"220 x\r\n")
    connection.recv(4096)
    connection.recv(4096)


@pytest.mark.parametrize(
    ("script", "security", "stage", "code"),
    [
        (_hang, Security.NONE, Stage.CONNECT, "no_greeting"),
        (_drip, Security.STARTTLS, Stage.CONNECT, "no_greeting"),
        (_greet_and_hang, Security.NONE, Stage.CONNECT, "no_greeting"),
        (_hang, Security.TLS, Stage.TLS, "timeout"),
        (_drip_tls, Security.TLS, Stage.TLS, "timeout"),
    ],
)
def test_a_server_that_hangs(
    script: Callable[[socket.socket], None], security: Security, stage: Stage, code: str
) -> None:
    """However it does it, the delivery ends at its deadline."""
    begun = time.monotonic()
    with scripted_server(script) as port:
        delivery = send(port, timeout_s=0.5, security=security)
        duration_s = time.monotonic() - begun
    assert (delivery.success, delivery.stage, delivery.code) == (False, stage, code)
    assert 0.5 <= duration_s < LONG_S / 2
    assert delivery.duration_ms >= 500


def test_a_server_that_talks_without_end() -> None:
    """It is cut off after 64 KiB, long before the deadline."""

    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"220-more\r\n" * 1000)

    with scripted_server(flood) as port:
        delivery = send(port)
    assert (delivery.stage, delivery.code) == (Stage.CONNECT, "not_smtp")
    assert delivery.duration_ms < LONG_S * 500


def test_what_stands_behind_the_answer_to_starttls_is_not_read() -> None:
    """An attacker in between cannot put words into the secured conversation (CVE-2011-0411)."""

    def inject(connection: socket.socket) -> None:
        connection.sendall(b"220 x\r\n")
        connection.recv(4096)
        connection.sendall(b"250-x\r\n250 STARTTLS\r\n")
        connection.recv(4096)
        connection.sendall(b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n")
        with server_context(LEAF).wrap_socket(connection, server_side=True) as secured:
            secured.recv(4096)
            secured.sendall(b"250 x\r\n")
            said.append(secured.recv(4096))

    said: list[bytes] = []
    with scripted_server(inject) as port:
        delivery = send(port, **signed_in(Security.STARTTLS))
    assert (delivery.stage, delivery.code) == (Stage.AUTH, "authentication_not_offered")
    assert said == [b""]


def test_starttls_that_is_taken_back() -> None:
    """A server that offers it and then does not do it gets nothing."""
    answers = (b"220 x\r\n", b"250-x\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", b"454 not now\r\n")
    with scripted_server(_speak(*answers)) as port:
        delivery = send(port, **signed_in(Security.STARTTLS))
    assert (delivery.stage, delivery.code, delivery.server_answer) == (
        Stage.TLS,
        "starttls_not_offered",
        "454 not now",
    )


def test_a_server_that_repeats_the_password() -> None:
    """In no spelling is it in what is shown; nor in the repr of anything."""
    server = SmtpServer(host="m", port=1, security=Security.TLS, username=USERNAME, password=PASSWORD)
    plain = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
    alone = base64.b64encode(PASSWORD.encode()).decode()
    shown = smtp._shown(f"535 bad {PASSWORD} {plain} {alone} {alone.rstrip('=')}", server)
    assert shown == "535 bad … … … …"
    assert PASSWORD not in repr(server)


def test_the_password_in_a_long_answer() -> None:
    """It is taken out before the answer is cut, so that no part of it stays at the end."""
    server = SmtpServer(host="m", port=1, security=Security.TLS, username=USERNAME, password=PASSWORD)
    shown = smtp._shown("x" * 295 + PASSWORD + "y" * 100, server)
    assert PASSWORD[:4] not in shown
    assert len(shown) == 300


def test_no_password_in_a_traceback(secured: tuple[int, Mailbox, Security], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw shows none either."""
    port, _, security = secured

    def fail(*_: object) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setattr(smtp._Attempt, "_ended", fail)
    with pytest.raises(KeyError) as raised:
        send(port, **signed_in(security))
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_every_code_is_worded() -> None:
    """Whatever is concluded has words."""
    codes = {code for _, code in smtp._CODES} | {*smtp._VERIFY_CODES.values(), *smtp._CODES_OF_ANSWERS.values()}
    assert codes <= MESSAGES.keys()
