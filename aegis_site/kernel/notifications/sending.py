"""Sending one message to one channel, and saying what became of it.

Laws of this module:
- Never raises for what the network, the receiver or the configuration does: the outcome is a `Result`, which is safe to
  show: no address, no token, and nothing of an answer that repeats them.
- Over after ten seconds, whatever the receiver does.
"""

import datetime
import email.utils
import http.client
import math
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.notifications import payloads
from aegis_site.kernel.notifications.composing import Note
from aegis_site.kernel.notifications.models import Channel, ChannelKind, NotedEvent
from aegis_site.kernel.notifications.posting import Answer, post
from aegis_site.kernel.notifications.signing import signed_fields
from aegis_site.kernel.notifications.validators import signing_key
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import compose as compose_mail
from aegis_site.kernel.site_settings.services import smtp_server
from aegis_site.kernel.site_settings.smtp import deliver as deliver_mail

TIMEOUT_S = 10.0
MAX_SHOWN_CHARACTERS = 500
# As long as a message is tried; a receiver that asks for more gets no more.
MAX_RETRY_AFTER_S = 86_400.0

# RFC 9110 section 15.5: the same request will not do better. 410 wants nothing more at all (Standard Webhooks).
_FINAL = frozenset((400, 405, 410, 411, 413, 414, 415, 422))
# What stands in an address and is shorter is a word, not a secret.
_MIN_SECRET_CHARACTERS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. The id is the same in every attempt, so that a receiver knows what it has already."""

    message_id: str
    note: Note
    events: Sequence[NotedEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of an attempt. `is_final`: another one would not do better."""

    success: bool
    message: str
    status: int | None = None
    retry_after_s: float = 0.0
    is_final: bool = False


def send(channel: Channel, message: Message, *, settings: SiteSettings, now: datetime.datetime) -> Result:
    """One attempt. Blocks for ten seconds at most."""
    try:
        if channel.kind == ChannelKind.MAIL:
            return _send_mail(channel, message, settings)
        return _send_post(channel, message, settings, now)
    except SecretUnreadable as error:
        return Result(success=False, message=f"The channel's secret does not open: {error.message}")


def _send_mail(channel: Channel, message: Message, settings: SiteSettings) -> Result:
    to = channel.recipients or settings.recipients
    if not settings.smtp_enabled:
        return Result(success=False, message="Mail is switched off in the settings.")
    if not to:
        return Result(
            success=False, message="Nobody gets this mail: neither the channel nor the settings name anybody."
        )
    subject, text = payloads.mail(message.note)
    mail = compose_mail(settings, to=to, subject=subject, text=text)
    # The same in every attempt: who gets it twice sees it once.
    mail.replace_header("Message-ID", f"<{message.message_id}@{mail['Message-ID'].rpartition('@')[2]}")
    timeout_s = min(TIMEOUT_S, settings.smtp_timeout_s)
    delivery = deliver_mail(smtp_server(settings), mail, timeout_s=timeout_s)
    said = f"{delivery.message} {delivery.server_answer}".strip()
    return Result(success=delivery.success, message=said[:MAX_SHOWN_CHARACTERS])


def _send_post(channel: Channel, message: Message, settings: SiteSettings, now: datetime.datetime) -> Result:
    url, fields, body = _request(channel, message, settings, now)
    try:
        answer = post(url, fields={"Content-Type": "application/json", **fields}, body=body, timeout_s=TIMEOUT_S)
    except (OSError, http.client.HTTPException) as error:
        return Result(success=False, message=_reason(error))
    return _judged(answer, channel, now)


def _request(
    channel: Channel, message: Message, settings: SiteSettings, now: datetime.datetime
) -> tuple[str, dict[str, str], bytes]:
    """Address, header fields and body."""
    url, secret = _revealed(channel)
    note, site_name = message.note, settings.site_name
    match ChannelKind(channel.kind):
        case ChannelKind.SLACK:
            return url, {}, payloads.slack(note, site_name=site_name)
        case ChannelKind.DISCORD:
            return url, {}, payloads.discord(note, site_name=site_name)
        case ChannelKind.TEAMS:
            return url, {}, payloads.teams(note, site_name=site_name)
        case ChannelKind.NTFY:
            place, topic = payloads.ntfy_place(url)
            fields = {"Authorization": f"Bearer {secret}"} if secret else {}
            return place, fields, payloads.ntfy(note, site_name=site_name, topic=topic)
    body = payloads.webhook(note, message.events, site_name=site_name, at=now)
    # Of this attempt, not of the event: receivers refuse what is old.
    timestamp_s = math.floor(now.timestamp())
    key = signing_key(secret)
    return url, signed_fields(message_id=message.message_id, timestamp_s=timestamp_s, body=body, key=key), body


def _revealed(channel: Channel) -> tuple[str, str]:
    url, secret = channel.url, channel.secret
    return (url.reveal().decode() if url else ""), (secret.reveal().decode() if secret else "")


def _judged(answer: Answer, channel: Channel, now: datetime.datetime) -> Result:
    if 200 <= answer.status < 300:
        return Result(success=True, message="The receiver has accepted the message.", status=answer.status)
    said = f"The receiver answers {answer.status}"
    if 300 <= answer.status < 400:
        said += " (redirects are not followed)"
    text = _shown(answer.body, channel)
    return Result(
        success=False,
        message=(f"{said}: {text}" if text else f"{said}.")[:MAX_SHOWN_CHARACTERS],
        status=answer.status,
        retry_after_s=retry_after_s(answer.retry_after, now),
        is_final=answer.status in _FINAL,
    )


def retry_after_s(text: str, now: datetime.datetime) -> float:
    """Seconds to wait by a Retry-After field (RFC 9110 section 10.2.3), a number or a date; 0 when it says nothing."""
    text = text.strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    aware = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return min(max(0.0, (aware - now).total_seconds()), MAX_RETRY_AFTER_S)


def _shown(text: str, channel: Channel) -> str:
    """Bounded, printable, and without what is secret: a receiver may repeat what was sent to it."""
    url, secret = _revealed(channel)
    parts = [secret, url, *re.split(r"[/?&=]", url.partition("://")[2].partition("/")[2])]
    # As it was sent, and as a receiver understands it.
    parts += [unquote(part) for part in parts]
    for part in sorted(set(parts), key=len, reverse=True):
        if len(part) >= _MIN_SECRET_CHARACTERS:
            text = text.replace(part, "…")
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _reason(error: Exception) -> str:
    """In words; texts of exceptions may hold the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The receiver's certificate cannot be accepted: {error.verify_message}."
    return next((words for kind, words in _REASONS if isinstance(error, kind)), _REASONS[-1][1])


# Most specific first.
_REASONS: list[tuple[type[Exception], str]] = [
    (TimeoutError, "The receiver did not answer in time."),
    (socket.gaierror, "There is no such host: the DNS knows no address for it."),
    (ConnectionRefusedError, "Nothing listens on this port of the host."),
    (ssl.SSLError, "The TLS handshake failed."),
    # It is an HTTPException too.
    (http.client.RemoteDisconnected, "The connection ended before the receiver had answered."),
    (http.client.HTTPException, "What answers there does not speak HTTP."),
    (OSError, "The connection failed, or ended before the receiver had answered."),
]
