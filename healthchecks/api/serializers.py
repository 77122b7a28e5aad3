"""How the health check of a host is written, and how the health of its upstreams is read.

Laws of this module: as in `hosts.api.serializers`; what a value may be is decided by the model.
"""

from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from healthchecks.models import INTERVAL_S, THRESHOLD, TIMEOUT_S, CheckKind, HealthCheck, HealthState, Method
from healthchecks.section import SECTION
from hosts.api.serializers import Text
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

    name = serializers.CharField(allow_blank=True, trim_whitespace=False)
    value = serializers.CharField(allow_blank=True, trim_whitespace=False)


class HealthCheckSerializer(StrictSerializer[HealthCheck]):
    """How the upstreams of a host are checked. `timeout_s` is less than `interval_s`."""

    enabled = serializers.BooleanField(required=False)
    kind = Text(document={"enum": CheckKind.values})
    method = Text(document={"enum": Method.values})
    path = Text()
    host_field = Text()
    expected_status = Text()
    body_contains = Text()
    headers = CheckHeaderSerializer(many=True, required=False)
    interval_s = Number(INTERVAL_S)
    timeout_s = Seconds(TIMEOUT_S)
    healthy_after = Number(THRESHOLD)
    unhealthy_after = Number(THRESHOLD)

    def get_attribute(self, instance: Any) -> HealthCheck:
        check: HealthCheck = SECTION.row_of(instance)
        return check


class HealthSampleSerializer(serializers.Serializer[Any]):
    """One check. `status` is that of an HTTP answer, `code` says why it failed (docs/diagnosis.md)."""

    at = serializers.DateTimeField()
    ok = serializers.BooleanField()
    duration_ms = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_blank=True)


class LastCheckSerializer(HealthSampleSerializer):
    """The last check, with what it said."""

    message = serializers.CharField(allow_blank=True)


class HealthTransitionSerializer(serializers.Serializer[Any]):
    """A change of state."""

    at = serializers.DateTimeField()
    previous = serializers.ChoiceField(choices=HealthState.choices)
    state = serializers.ChoiceField(choices=HealthState.choices)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)


class UpstreamHealthSerializer(serializers.Serializer[Any]):
    """How one upstream stands, and stood. `unknown` is also the state of one that is not checked.

    `uptime_24h_percent` is the share of checks that went well, null when there were none.
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
    uptime_24h_percent = serializers.FloatField(allow_null=True)
    transitions = HealthTransitionSerializer(many=True)
    samples = HealthSampleSerializer(many=True)


class HostHealthSerializer(serializers.Serializer[Any]):
    """How the upstreams of one host stand."""

    enabled = serializers.BooleanField()
    interval_s = serializers.IntegerField()
    upstreams = UpstreamHealthSerializer(many=True)
