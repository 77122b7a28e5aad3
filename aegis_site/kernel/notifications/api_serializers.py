"""How channels, maintenance windows and messages are read and written.

Laws of this module: what a value may be is decided by the services. Addresses and secrets are written only.
"""

import datetime
import re
from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from aegis_site.kernel.notifications.kinds import EventKind
from aegis_site.kernel.notifications.models import (
    GROUP_S,
    Channel,
    ChannelKind,
    Delivery,
    DeliveryState,
    MaintenanceWindow,
)
from aegis_site.kernel.notifications.validators import (
    MAX_NAME_CHARACTERS,
    MAX_SECRET_CHARACTERS,
    MAX_URL_CHARACTERS,
    MAX_WINDOW_HOSTS,
    TOO_MANY_HOSTS,
)
from aegis_site.kernel.serializers import Texts
from aegis_site.kernel.site_settings.validators import MAX_RECIPIENTS

_TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"


class Text(serializers.CharField):
    """A text of which the OpenAPI document says more."""

    def __init__(self, *, document: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.document = document


class TimeOfDay(serializers.TimeField):
    """A wall clock's time, to the second. An offset would be dropped by DRF, and the time be another one."""

    document = {"format": "time-of-day", "pattern": f"^{_TIME_OF_DAY}$"}

    def to_internal_value(self, value: Any) -> datetime.time:
        if not isinstance(value, str) or not re.fullmatch(_TIME_OF_DAY, value):
            self.fail("invalid", format="hh:mm[:ss]")
        return super().to_internal_value(value)

    def to_representation(self, value: datetime.time) -> str:
        return value.isoformat(timespec="seconds")


class ChannelSerializer(StrictSerializer[Channel]):
    """A channel. `url` and `secret` are written only: absent keeps them, `"secret": ""` clears it."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=MAX_NAME_CHARACTERS)
    kind = serializers.ChoiceField(ChannelKind.values, help_text="It stays what it is.")
    enabled = serializers.BooleanField(required=False)
    url = Text(
        write_only=True,
        required=False,
        max_length=MAX_URL_CHARACTERS,
        document={"format": "http-url"},
        help_text="Of all kinds but mail.",
    )
    destination = serializers.CharField(read_only=True, help_text="Where it leads, without what is secret.")
    secret = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        max_length=MAX_SECRET_CHARACTERS,
        help_text="Of a webhook `whsec_` and the base64 of 24 to 64 random bytes; of ntfy an access token.",
    )
    secret_set = serializers.SerializerMethodField()
    recipients = Texts(
        child=Text(allow_blank=True, document={"format": "mail-address"}),
        document={"maxItems": MAX_RECIPIENTS},
        help_text="Of mail. Empty: the recipients of the site settings.",
    )
    events = Texts(
        child=serializers.ChoiceField(EventKind.values), document={"uniqueItems": True}, help_text="Empty: all."
    )
    group_s = serializers.IntegerField(
        required=False,
        min_value=GROUP_S.low,
        max_value=GROUP_S.high,
        help_text="What happens to the same host within so many seconds is told in one message.",
    )
    quiet_from = TimeOfDay(required=False, allow_null=True, help_text="With `quiet_to`, or neither.")
    quiet_to = TimeOfDay(required=False, allow_null=True, help_text="May be before `quiet_from`: on the next day.")
    time_zone = Text(
        required=False, max_length=64, document={"format": "time-zone"}, help_text="Of the quiet hours: Europe/Berlin."
    )
    critical_passes = serializers.BooleanField(
        required=False, help_text="Whether critical events are told in quiet hours too."
    )

    def get_secret_set(self, channel: Channel) -> bool:
        return channel.secret is not None


class ChannelTestSerializer(serializers.Serializer[Any]):
    """What became of a test message. `status` is that of an HTTP answer."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    status = serializers.IntegerField(allow_null=True)


class WindowHosts(serializers.ManyRelatedField):
    """The hosts of a window. A query for each, so that there are not too many is asked before."""

    default_error_messages = {"max_length": TOO_MANY_HOSTS}
    document = {"maxItems": MAX_WINDOW_HOSTS}

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > MAX_WINDOW_HOSTS:
            self.fail("max_length")
        return list(super().to_internal_value(data))


class MaintenanceWindowSerializer(StrictSerializer[MaintenanceWindow]):
    """From when to when nothing is told: of the whole site, or of these hosts."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=MAX_NAME_CHARACTERS)
    begins_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(help_text="After `begins_at`.")
    whole_site = serializers.BooleanField(required=False, help_text="Then `hosts` is empty.")
    hosts = WindowHosts(
        required=False,
        child_relation=serializers.PrimaryKeyRelatedField(
            queryset=MaintenanceWindow._meta.get_field("hosts").remote_field.model._default_manager.all()
        ),
    )


class ToldEventSerializer(serializers.Serializer[Any]):
    """An event as it was noted. `since`: of an end or a reminder, when it began."""

    kind = serializers.ChoiceField(EventKind.values)
    subject = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
    since = serializers.DateTimeField(allow_null=True)


class NotificationDeliverySerializer(serializers.Serializer[Delivery]):
    """A message to a channel, and what became of it."""

    id = serializers.UUIDField()
    channel = serializers.UUIDField(source="channel_id")
    channel_name = serializers.CharField(source="channel.name")
    state = serializers.ChoiceField(DeliveryState.values)
    attempts = serializers.IntegerField()
    due_at = serializers.DateTimeField(help_text="Of a waiting one, when it is tried next.")
    first_attempt_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    status = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    events = ToldEventSerializer(many=True)
