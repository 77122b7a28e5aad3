"""How the health check of a host is written, and how the health of its upstreams is read.

Laws of this module: as in `hosts.api.serializers`; what a value may be is decided by the model.
"""

from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from aegis_site.kernel.serializers import MomentField, QuerySerializer
from healthchecks.history import Range
from healthchecks.models import INTERVAL_S, THRESHOLD, TIMEOUT_S, CheckKind, HealthCheck, HealthState, Method
from healthchecks.section import SECTION
from healthchecks.validators import (
    MAX_BODY_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_PATH_CHARACTERS,
    MAX_STATUS_CHARACTERS,
    MAX_VALUE_CHARACTERS,
)
from hosts.api.serializers import Text
from hosts.api.traffic_serializers import RuleText
from hosts.validators import Between


class Number(serializers.IntegerField):
    """A whole number; the document says its bounds, the model keeps them."""

    def __init__(self, bounds: Between) -> None:
        super().__init__(required=False)
        self.document = {"minimum": bounds.low, "maximum": bounds.high}


class Seconds(serializers.FloatField):
    """The same, with fractions."""

    def __init__(self, bounds: Between) -> None:
        super().__init__(required=False)
        self.document = {"minimum": bounds.low, "maximum": bounds.high}


class CheckHeaderSerializer(StrictSerializer[Any]):
    """A header field that a check sends."""

    name = RuleText(document={"format": "http-field-name", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS})
    value = RuleText(document={"format": "http-field-value", "minLength": 1, "maxLength": MAX_VALUE_CHARACTERS})


class HealthCheckSerializer(StrictSerializer[HealthCheck]):
    """How the upstreams of a host are checked. `timeout_s` is less than `interval_s`."""

    enabled = serializers.BooleanField(required=False)
    kind = Text(document={"enum": CheckKind.values})
    method = Text(document={"enum": Method.values})
    path = Text(document={"format": "request-target", "maxLength": MAX_PATH_CHARACTERS})
    host_field = Text(document={"format": "host-and-port", "maxLength": 300})
    expected_status = Text(document={"format": "status-ranges", "maxLength": MAX_STATUS_CHARACTERS})
    body_contains = Text(document={"maxLength": MAX_BODY_CHARACTERS})
    headers = CheckHeaderSerializer(many=True, required=False)
    interval_s = Number(INTERVAL_S)
    timeout_s = Seconds(TIMEOUT_S)
    healthy_after = Number(THRESHOLD)
    unhealthy_after = Number(THRESHOLD)

    def get_attribute(self, instance: Any) -> HealthCheck:
        check: HealthCheck = SECTION.row_of(instance)
        return check


class LastCheckSerializer(serializers.Serializer[Any]):
    """The last check. `status` is that of an HTTP answer, `code` says why it failed (docs/diagnosis.md)."""

    at = serializers.DateTimeField()
    ok = serializers.BooleanField()
    duration_ms = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)


class HealthPointSerializer(serializers.Serializer[Any]):
    """What came of the checks of `span_s` seconds. Durations are of those that went well, null when none did.

    `p95_ms` is read from a histogram. `codes` says how many failures had which code (docs/diagnosis.md).
    """

    at = serializers.DateTimeField()
    span_s = serializers.IntegerField()
    count = serializers.IntegerField()
    failures = serializers.IntegerField()
    min_ms = serializers.IntegerField(allow_null=True)
    mean_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    max_ms = serializers.IntegerField(allow_null=True)
    codes = serializers.DictField(child=serializers.IntegerField())


class UptimeSerializer(serializers.Serializer[Any]):
    """The share of the known time in which the upstream was healthy, and how long that known time is."""

    percent = serializers.FloatField(allow_null=True)
    known_s = serializers.IntegerField()


class UptimesSerializer(serializers.Serializer[Any]):
    """Of a day, a week and thirty days."""

    last_24h = UptimeSerializer()
    last_7d = UptimeSerializer()
    last_30d = UptimeSerializer()


class HealthTransitionSerializer(serializers.Serializer[Any]):
    """A change of state. To `unknown`: from then on it was not checked."""

    at = serializers.DateTimeField()
    previous = serializers.ChoiceField(choices=HealthState.choices)
    state = serializers.ChoiceField(choices=HealthState.choices)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)


class UpstreamHealthSerializer(serializers.Serializer[Any]):
    """How one upstream stands, and stood. `unknown` is also the state of one that is not checked.

    `last_hour` are its checks of the last hour by minutes, the oldest first.
    """

    id = serializers.UUIDField()
    scheme = serializers.CharField()
    address = serializers.CharField()
    port = serializers.IntegerField()
    enabled = serializers.BooleanField()
    state = serializers.ChoiceField(choices=HealthState.choices)
    since = serializers.DateTimeField(allow_null=True)
    successes = serializers.IntegerField()
    failures = serializers.IntegerField()
    last_check = LastCheckSerializer(allow_null=True)
    uptime = UptimesSerializer()
    transitions = HealthTransitionSerializer(many=True)
    last_hour = HealthPointSerializer(many=True)


class HostHealthSerializer(serializers.Serializer[Any]):
    """How the upstreams of one host stand."""

    enabled = serializers.BooleanField()
    interval_s = serializers.IntegerField()
    upstreams = UpstreamHealthSerializer(many=True)


class HistoryQuerySerializer(QuerySerializer):
    """Which upstream of the host, if not all; how long a time, up to when, if not now."""

    upstream = serializers.UUIDField(required=False)
    range = serializers.ChoiceField(choices=Range.choices, default=Range.DAY)
    until = MomentField(required=False)


class HealthStretchSerializer(serializers.Serializer[Any]):
    """A time in which the state was one."""

    state = serializers.ChoiceField(choices=HealthState.choices)
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()


class UpstreamHistorySerializer(serializers.Serializer[Any]):
    """How one upstream stood, without gaps, and what came of its checks, where there were any; the oldest first."""

    id = serializers.UUIDField()
    states = HealthStretchSerializer(many=True)
    points = HealthPointSerializer(many=True)


class HealthHistorySerializer(serializers.Serializer[Any]):
    """How the upstreams of one host stood. A point has `step_s`, or the longer span by which old checks are counted."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    step_s = serializers.IntegerField()
    upstreams = UpstreamHistorySerializer(many=True)
