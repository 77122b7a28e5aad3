"""How the traffic part of a host is read and written.

Laws of this module: as in `hosts.api.serializers`. What is absent in a whole document has the default of
`proxyworker.snapshot`.
"""

from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from hosts.specs import HeaderRuleSpec
from hosts.traffic import SECTIONS
from hosts.traffic_models import StoredRules, TrafficConfiguration


class Section(StrictSerializer[TrafficConfiguration]):
    """Some columns of a host's traffic configuration."""

    def get_attribute(self, instance: Any) -> TrafficConfiguration:
        configuration: TrafficConfiguration = instance.traffic_configuration
        return configuration


class TimeoutsSerializer(Section):
    """How long the worker waits for upstreams, in seconds."""

    connect_s = serializers.FloatField(required=False)
    tls_s = serializers.FloatField(required=False)
    response_head_s = serializers.FloatField(required=False)
    body_stall_s = serializers.FloatField(required=False)
    idle_s = serializers.FloatField(required=False)
    tunnel_idle_s = serializers.FloatField(required=False)
    tunnel_lifetime_s = serializers.FloatField(required=False)
    tunnel_drain_s = serializers.FloatField(required=False)


class PassiveHealthSerializer(Section):
    """When failing requests take an upstream out."""

    max_failures = serializers.IntegerField(required=False)
    backoff_s = serializers.FloatField(required=False)
    backoff_max_s = serializers.FloatField(required=False)


class RetriesSerializer(Section):
    """How often a failed request is tried again, where that is safe."""

    max_attempts = serializers.IntegerField(required=False)
    budget_percent = serializers.IntegerField(required=False)
    budget_min_per_s = serializers.IntegerField(required=False)


class LimitsSerializer(Section):
    """What clients may ask of a host. 0: no limit."""

    max_body_bytes = serializers.IntegerField(required=False)


class HeaderRules(serializers.ListSerializer[Any]):
    """The rules of one direction, in order."""

    def get_attribute(self, instance: Any) -> StoredRules:
        rules: StoredRules = getattr(instance.traffic_configuration, str(self.field_name))
        return rules


class HeaderRuleSerializer(StrictSerializer[Any]):
    """One change to a header section: `set` replaces all fields of that name, `add` adds one, `remove` drops all."""

    action = serializers.CharField(allow_blank=True, trim_whitespace=False)
    name = serializers.CharField(allow_blank=True, trim_whitespace=False)
    value = serializers.CharField(allow_blank=True, trim_whitespace=False, required=False)

    class Meta:
        list_serializer_class = HeaderRules


def traffic_of(document: dict[str, Any], *, is_whole: bool) -> dict[str, Any]:
    """What a validated document says about traffic, as parts of a `HostSpec`."""
    parts: dict[str, Any] = {
        section: (asdict(kind()) if is_whole else {}) | document.get(section, {}) for section, kind in SECTIONS.items()
    }
    for name in ("request_headers", "response_headers"):
        if is_whole or name in document:
            parts[name] = tuple(HeaderRuleSpec(**rule) for rule in document.get(name, ()))
    return parts
