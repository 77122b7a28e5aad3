"""sending: one attempt by each kind of channel, to real receivers, and what is said of it."""

import base64
import datetime
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from aegis_site.kernel.notifications.composing import compose
from aegis_site.kernel.notifications.models import Channel
from aegis_site.kernel.notifications.sending import MAX_SHOWN_CHARACTERS, Message, Result, retry_after_s, send
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import change_settings, current_settings
from tests.aegis_site.kernel.notifications.examples import KEY, NOW, channel, noted
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.receiver import Receiver, receiver
from tests.support.smtp import mail_server

pytestmark = pytest.mark.django_db

CA = Authority("Hooks CA")


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CA.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def sent(to: Channel, settings: SiteSettings | None = None) -> Result:
    event = noted()
    message = Message(message_id="msg_1", note=compose([event], public_url=""), events=[event])
    return send(to, message, settings=settings or current_settings(), now=NOW)


def url_of(there: Receiver, path: str = "/canary-path-93af") -> str:
    return f"https://localhost:{there.port}{path}"


def test_a_webhook_is_signed() -> None:
    """A receiver that follows Standard Webhooks accepts it."""
    with receiver(leaf=CA.server("localhost")) as there:
        result = sent(channel(url=url_of(there)))
    assert (result.success, result.status) == (True, 204)
    [request] = there.requests
    signed = f"{request.fields['webhook-id']}.{request.fields['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.fields["webhook-signature"] == f"v1,{expected}"
    assert (request.fields["webhook-id"], request.fields["webhook-timestamp"]) == ("msg_1", str(int(NOW.timestamp())))
    assert (request.fields["Content-Type"], json.loads(request.body)["type"]) == (
        "application/json",
        "aegis.notification",
    )


@pytest.mark.parametrize(("kind", "key"), [("slack", "attachments"), ("discord", "embeds"), ("teams", "attachments")])
def test_chats_get_their_payload(kind: str, key: str) -> None:
    """At the address that was entered."""
    with receiver(leaf=CA.server("localhost"), status=200) as there:
        assert sent(channel(kind, url=url_of(there))).success
    [request] = there.requests
    assert request.path == "/canary-path-93af"
    assert key in json.loads(request.body)
    assert request.fields["Authorization"] is None


def test_ntfy_gets_its_token() -> None:
    """At the root of the server, with the topic in the document."""
    with receiver(leaf=CA.server("localhost"), status=200) as there:
        assert sent(channel("ntfy", url=url_of(there, "/alerts"), secret="tk_canary")).success
    [request] = there.requests
    assert (request.path, json.loads(request.body)["topic"]) == ("/", "alerts")
    assert request.fields["Authorization"] == "Bearer tk_canary"


def test_mail_goes_to_the_recipients() -> None:
    """To those of the channel, or else those of the settings."""
    with mail_server() as (port, mailbox):
        settings: dict[str, Any] = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none"}
        settings |= {"smtp_enabled": True, "smtp_from_address": "aegis@example.com", "recipients": ["all@example.com"]}
        change_settings(values=settings, user=None)
        assert sent(channel("mail", name="a", recipients=["one@example.com"])).success
        assert sent(channel("mail", name="b")).success
    assert mailbox.recipients == ["one@example.com", "all@example.com"]
    assert [message["Subject"] for message in mailbox.messages] == ["[Aegis] Upstream a:1 is down"] * 2
    # Of the message, so the same in every attempt.
    assert {message["Message-ID"] for message in mailbox.messages} == {"<msg_1@example.com>"}


def test_mail_that_cannot_go() -> None:
    """Because it is off, or because nobody would get it."""
    assert "switched off" in sent(channel("mail")).message
    on = SiteSettings(smtp_enabled=True)
    assert "Nobody gets this mail" in sent(Channel.objects.get(), on).message


def test_a_failure_says_why_and_no_secret() -> None:
    """Even if the receiver repeats what it got."""
    body = b"no_service: /canary-path-93af \xff" + b"x" * 3000
    with receiver(leaf=CA.server("localhost"), status=503, body=body, fields={"Retry-After": "120"}) as there:
        result = sent(channel(url=url_of(there)))
    assert result.message.startswith("The receiver answers 503: no_service: /…")
    assert "canary" not in result.message
    assert len(result.message) == MAX_SHOWN_CHARACTERS
    assert (result.status, result.retry_after_s, result.is_final) == (503, 120, False)


def test_a_secret_is_left_out_however_it_is_written() -> None:
    """A receiver may repeat what the address means, not as it was entered."""
    with receiver(leaf=CA.server("localhost"), status=503, body=b"no canary+key 11") as there:
        address = f"https://localhost:{there.port}/hook?sig=canary%2Bkey%2011"
        assert sent(channel(url=address)).message == "The receiver answers 503: no …"


def test_what_will_not_do_better_is_final() -> None:
    """And a redirect says that it is not followed."""
    with receiver(leaf=CA.server("localhost"), status=410) as there:
        target = channel(url=url_of(there))
        assert sent(target).is_final
        there.status = 302
        assert "redirects are not followed" in sent(target).message
        there.status = 404
        assert not sent(target).is_final


def test_reasons_without_an_address() -> None:
    """Nobody listens; nobody to trust; no TLS."""
    assert (
        sent(channel(url=f"https://127.0.0.1:{free_port()}/canary")).message
        == "Nothing listens on this port of the host."
    )
    with receiver(leaf=Authority("Somebody").server("localhost")) as there:
        assert sent(channel("slack", url=url_of(there))).message.startswith(
            "The receiver's certificate cannot be accepted"
        )
    with receiver() as there:
        assert sent(channel("discord", url=url_of(there))).message == "The TLS handshake failed."


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("Mon, 04 May 2026 12:01:00 GMT", 60),
        ("Mon, 04 May 2026 11:00:00 GMT", 0),
        ("999999999", 86_400),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1e9", 0),
        ("Mon, 99 May 2026 12:01:00 GMT", 0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", 0),
        ("Mon, 04 May 2026 12:01:00 +99999999999999999999", 0),
        ("9" * 10, 0),
    ],
)
def test_retry_after(text: str, seconds: float) -> None:
    """A number of seconds or a date; nonsense says nothing."""
    assert NOW.tzinfo is datetime.UTC
    assert retry_after_s(text, NOW) == seconds
