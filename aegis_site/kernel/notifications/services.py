"""Everything that people change of notifications.

Laws of this module:
- Each service is one transaction, and is in the audit log; errors come all at once, keyed by column.
- A token goes to the address for which it was entered. Whoever names another one enters it again: otherwise a change of
  the address would be a way to read it.
"""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import changing
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.notifications.audit import CHANNELS, DELIVERY_TYPE, PLAIN_COLUMNS, WINDOWS
from aegis_site.kernel.notifications.composing import compose
from aegis_site.kernel.notifications.kinds import EventKind
from aegis_site.kernel.notifications.models import (
    Channel,
    ChannelKind,
    Delivery,
    DeliveryState,
    MaintenanceWindow,
    NotedEvent,
)
from aegis_site.kernel.notifications.sending import Message, Result, send
from aegis_site.kernel.notifications.validators import (
    MAX_WINDOW_HOSTS,
    TOO_MANY_HOSTS,
    clean_url,
    shown_url,
    signing_key,
    validate_token,
    validate_topic,
)
from aegis_site.kernel.site_settings.services import current_settings

COLUMNS = (*PLAIN_COLUMNS, "quiet_from", "quiet_to")
WINDOW_COLUMNS = ("name", "begins_at", "ends_at", "whole_site")

# Their address is all that one needs to write there.
_SECRET_ADDRESSES = frozenset((ChannelKind.SLACK, ChannelKind.DISCORD, ChannelKind.TEAMS))
_WITH_SECRET = frozenset((ChannelKind.WEBHOOK, ChannelKind.NTFY))


class NotFailed(AegisError):
    """Only what was given up is sent again by hand."""


@transaction.atomic
def save_channel(*, channel: Channel, values: Mapping[str, Any], user: Actor | None) -> Channel:
    """Give a new or a stored channel the named columns; `url` and `secret` are texts, "" clears the secret.

    Raises ValidationError, Channel.DoesNotExist.
    """
    if not channel._state.adding:
        channel = Channel.objects.select_for_update().get(pk=channel.pk)
    with changing(CHANNELS, [channel.pk], user=user):
        apply_values(channel, values)
        channel.save()
    return channel


@transaction.atomic
def delete_channels(*, ids: Collection[uuid.UUID], user: Actor | None) -> None:
    """Delete channels with their messages."""
    with changing(CHANNELS, ids, user=user):
        Channel.objects.filter(pk__in=ids).delete()


@transaction.atomic
def save_window(*, window: MaintenanceWindow, values: Mapping[str, Any], user: Actor | None) -> MaintenanceWindow:
    """Give a new or a stored window the named columns; `hosts` are rows. Raises ValidationError, DoesNotExist."""
    is_new = window._state.adding
    if not is_new:
        window = MaintenanceWindow.objects.select_for_update().get(pk=window.pk)
    hosts = values["hosts"] if "hosts" in values else () if is_new else list(window.hosts.all())
    with changing(WINDOWS, [window.pk], user=user):
        apply_window(window, values, hosts=hosts)
        window.save()
        window.hosts.set(hosts)
    return window


def apply_window(window: MaintenanceWindow, values: Mapping[str, Any], *, hosts: Collection[Any]) -> None:
    """Give `window` the named columns, checked, and save nothing. Raises ValidationError with every error."""
    for name in WINDOW_COLUMNS:
        if name in values:
            setattr(window, name, values[name])
    errors = _errors_of(window)
    if window.whole_site == bool(hosts):
        errors.setdefault("hosts", ValidationError("Either the whole site, or some hosts.", code="invalid"))
    elif len(hosts) > MAX_WINDOW_HOSTS:
        errors.setdefault("hosts", ValidationError(TOO_MANY_HOSTS, code="max_length"))
    if errors:
        raise ValidationError(errors)


@transaction.atomic
def delete_windows(*, ids: Collection[uuid.UUID], user: Actor | None) -> None:
    """Delete windows; what they muted stays muted, unless it lasts."""
    with changing(WINDOWS, ids, user=user):
        MaintenanceWindow.objects.filter(pk__in=ids).delete()


@transaction.atomic
def retry_delivery(*, delivery: Delivery, user: Actor | None) -> Delivery:
    """Try a message that was given up again, for another day. Raises NotFailed, Delivery.DoesNotExist."""
    stored = Delivery.objects.select_for_update().get(pk=delivery.pk)
    if stored.state != DeliveryState.FAILED:
        raise NotFailed("not_failed", "This message was not given up: there is nothing to send again.")
    stored.state, stored.due_at = DeliveryState.WAITING, timezone.now()
    stored.first_attempt_at = stored.finished_at = None
    stored.save(update_fields=["state", "due_at", "first_attempt_at", "finished_at"])
    record(
        user=user,
        action="retried",
        target_type=DELIVERY_TYPE,
        target_id=stored.pk,
        target_name=stored.channel.name,
    )
    return stored


def send_test(channel: Channel) -> Result:
    """Send a test message at once, whether the channel is enabled or not. Blocks for ten seconds at most."""
    settings, now = current_settings(), timezone.now()
    event = NotedEvent(
        kind=EventKind.ROTATION,
        subject="test",
        group="test",
        title=f"Test message of {settings.site_name}",
        text="Somebody has asked for it in the admin or through the API. Notifications arrive here.",
        at=now,
    )
    note = compose([event], public_url=settings.public_url)
    message = Message(message_id=f"msg_{uuid.uuid4().hex}", note=note, events=[event])
    return send(channel, message, settings=settings, now=now)


def apply_values(channel: Channel, values: Mapping[str, Any]) -> None:
    """Give `channel` the named columns, checked, and save nothing. Raises ValidationError with every error."""
    errors: dict[str, Any] = {}
    if not channel._state.adding and values.get("kind", channel.kind) != channel.kind:
        errors["kind"] = ValidationError("The kind of a channel stays what it is.", code="invalid")
    for name in COLUMNS:
        if name in values and name not in errors:
            setattr(channel, name, values[name])
    errors = {**_errors_of(channel), **errors}
    if "kind" not in errors:
        _apply_address(channel, values.get("url"), values.get("secret"), errors)
    if errors:
        raise ValidationError(errors)


def _errors_of(row: Channel | MaintenanceWindow) -> dict[str, Any]:
    try:
        row.full_clean(validate_constraints=False)
    except ValidationError as error:
        return dict(error.error_dict)
    return {}


def _apply_address(channel: Channel, url: str | None, secret: str | None, errors: dict[str, Any]) -> None:
    """Texts as sent; None: not named."""
    kind = ChannelKind(channel.kind)
    if kind == ChannelKind.MAIL and url:
        errors["url"] = ValidationError("Mail has recipients, no URL.", code="invalid")
    if kind not in _WITH_SECRET and secret:
        errors["secret"] = ValidationError("This kind of channel has none.", code="invalid")
    if "url" in errors or "secret" in errors:
        return
    if kind == ChannelKind.MAIL:
        channel.destination = ", ".join(channel.recipients)[:300] or "recipients of the settings"
        return
    if secret is None and url is not None and kind == ChannelKind.NTFY and channel.secret is not None:
        text = "Enter the token again: it was for the address that was set before."
        errors["secret"] = ValidationError(text, code="required_again")
        return
    _apply_secret(channel, kind, secret, errors)
    # A stored address is looked at again only when a secret is to go there from now on.
    if url is not None or channel.url is None or secret:
        _apply_url(channel, kind, url, errors)


def _apply_secret(channel: Channel, kind: ChannelKind, secret: str | None, errors: dict[str, Any]) -> None:
    try:
        if secret and kind == ChannelKind.WEBHOOK:
            signing_key(secret)
        elif secret:
            validate_token(secret)
    except ValidationError as error:
        errors["secret"] = error.error_list
        return
    if secret is not None:
        channel.secret = Sealed.of(secret) if secret else None
    if channel.secret is None and kind == ChannelKind.WEBHOOK:
        text = "Enter the secret by which the receiver knows Aegis: whsec_ and the base64 of 24 to 64 random bytes."
        errors["secret"] = ValidationError(text, code="required")


def _apply_url(channel: Channel, kind: ChannelKind, url: str | None, errors: dict[str, Any]) -> None:
    needs_tls = kind in _SECRET_ADDRESSES or (kind == ChannelKind.NTFY and channel.secret is not None)
    try:
        if url == "" or (url is None and channel.url is None):
            raise ValidationError("Enter where to send.", code="required")
        cleaned = clean_url(url if url is not None else _stored(channel), needs_tls=needs_tls)
        if kind == ChannelKind.NTFY:
            validate_topic(cleaned)
    except ValidationError as error:
        errors["url"] = error.error_list
        return
    if url is not None:
        channel.url, channel.destination = Sealed.of(cleaned), shown_url(cleaned)


def _stored(channel: Channel) -> str:
    try:
        return channel.url.reveal().decode() if channel.url is not None else ""
    except SecretUnreadable as error:
        text = f"Enter the address again, the stored one does not open: {error.message}"
        raise ValidationError(text, code="required_again") from error
