"""How the traffic part of a host is read and written.

Laws of this module: as in `hosts.api.serializers`. What is absent in a whole document has the default of
`proxyworker.snapshot`.
"""

from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from hosts.header_rules import ACTIONS, MAX_NAME_CHARACTERS, MAX_VALUE_CHARACTERS
from hosts.specs import HeaderRuleSpec
from hosts.traffic import SECTIONS
from hosts.traffic_models import BOUNDS, StoredRule, StoredRules, TrafficConfiguration


class Seconds(serializers.FloatField):
    """A number of seconds; `hosts.traffic_models.BOUNDS` has its bounds by `name`."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.document = _bounds(name)


class Count(serializers.IntegerField):
    """A whole number, as above."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.document = _bounds(name)


def _bounds(name: str) -> dict[str, float]:
    """For the OpenAPI document; the services refuse what is outside."""
    return {"minimum": BOUNDS[name].low, "maximum": BOUNDS[name].high}


class Section(StrictSerializer[TrafficConfiguration]):
    """Some columns of a host's traffic configuration."""

    def get_attribute(self, instance: Any) -> TrafficConfiguration:
        configuration: TrafficConfiguration = instance.traffic_configuration
        return configuration


class TimeoutsSerializer(Section):
    """How long the worker waits for upstreams, in seconds."""

    connect_s = Seconds("connect_s")
    tls_s = Seconds("tls_s")
    response_head_s = Seconds("response_head_s")
    body_stall_s = Seconds("body_stall_s")
    idle_s = Seconds("idle_s")
    tunnel_idle_s = Seconds("tunnel_idle_s")
    tunnel_lifetime_s = Seconds("tunnel_lifetime_s")
    tunnel_drain_s = Seconds("tunnel_drain_s")


class PassiveHealthSerializer(Section):
    """When failing requests take an upstream out."""

    max_failures = Count("max_failures")
    backoff_s = Seconds("backoff_s")
    backoff_max_s = Seconds("backoff_max_s")


class RetriesSerializer(Section):
    """How often a failed request is tried again, where that is safe."""

    max_attempts = Count("max_attempts")
    budget_percent = Count("budget_percent")
    budget_min_per_s = Count("budget_min_per_s")


class LimitsSerializer(Section):
    """What clients may ask of a host. 0: no limit."""

    max_body_bytes = Count("max_body_bytes")


class RuleText(serializers.CharField):
    """A text of a rule; the document says what it may be, `hosts.header_rules` refuses what it may not."""

    def __init__(self, *, document: dict[str, Any], **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **options)
        self.document = document


class HeaderRules(serializers.ListSerializer[Any]):
    """The rules of one direction, in order."""

    def get_attribute(self, instance: Any) -> list[dict[str, Any]]:
        rules: StoredRules = getattr(instance.traffic_configuration, str(self.field_name))
        return [_shown(rule) for rule in rules]


class HeaderRuleSerializer(StrictSerializer[Any]):
    """One change to a header section: `set` replaces all fields of that name, `add` adds one, `remove` drops all.

    A `sensitive` value is stored encrypted and never returned; `value_set` says that there is one. So is every value
    that looks like a credential, by the name of its field or by itself. A rule without `value` keeps that of the stored
    rule with its action and name.
    """

    absent_at_times = ("value",)

    action = RuleText(document={"enum": list(ACTIONS)})
    name = RuleText(document={"format": "http-field-name", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS})
    value = RuleText(required=False, document={"format": "http-field-value", "maxLength": MAX_VALUE_CHARACTERS})
    sensitive = serializers.BooleanField(required=False)
    value_set = serializers.BooleanField(read_only=True)

    class Meta:
        list_serializer_class = HeaderRules


def _shown(rule: StoredRule) -> dict[str, Any]:
    shown: dict[str, Any] = {"action": rule["action"], "name": rule["name"]}
    if "secret" in rule:
        return {**shown, "sensitive": True, "value_set": True}
    return {**shown, "value": rule["value"], "sensitive": False, "value_set": bool(rule["value"])}


def traffic_of(document: dict[str, Any], *, is_whole: bool) -> dict[str, Any]:
    """What a validated document says about traffic, as parts of a `HostSpec`."""
    parts: dict[str, Any] = {
        section: (asdict(kind()) if is_whole else {}) | document.get(section, {}) for section, kind in SECTIONS.items()
    }
    for name in ("request_headers", "response_headers"):
        if is_whole or name in document:
            parts[name] = tuple(HeaderRuleSpec(**rule) for rule in document.get(name, ()))
    return parts
