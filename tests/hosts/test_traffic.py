"""Applying what a spec says about traffic."""

import pytest
from django.core.exceptions import ValidationError

from hosts.field_errors import FieldErrors
from hosts.specs import HeaderRuleSpec, HostSpec
from hosts.traffic import SECTION_OF, apply_traffic
from hosts.traffic_models import TrafficConfiguration

RULE = HeaderRuleSpec(action="set", name="X-Team", value="orders")


def applied(configuration: TrafficConfiguration, spec: HostSpec) -> dict[str, list[str]]:
    """The messages by path."""
    errors = FieldErrors()
    apply_traffic(configuration, spec, errors)
    try:
        errors.raise_if_any()
    except ValidationError as error:
        return error.message_dict
    return {}


def test_what_is_not_named_stays() -> None:
    """Within a section too."""
    configuration = TrafficConfiguration(tls_s=9.0, max_body_bytes=5)
    assert applied(configuration, HostSpec(timeouts={"connect_s": 1.5}, request_headers=(RULE,))) == {}
    assert (configuration.connect_s, configuration.tls_s, configuration.max_body_bytes) == (1.5, 9.0, 5)
    assert configuration.request_headers == [{"action": "set", "name": "X-Team", "value": "orders"}]
    assert applied(configuration, HostSpec()) == {}
    assert configuration.request_headers == [{"action": "set", "name": "X-Team", "value": "orders"}]
    assert applied(configuration, HostSpec(request_headers=())) == {}
    assert configuration.request_headers == []


def test_all_errors_come_at_once_under_their_paths() -> None:
    """Value and bounds are said."""
    bad = HeaderRuleSpec(action="set", name="a b", value="")
    spec = HostSpec(
        timeouts={"connect_s": float("nan")},
        passive_health={"backoff_s": 9, "backoff_max_s": 1},
        retries={"max_attempts": 11},
        limits={"max_body_bytes": 2**60},
        request_headers=(RULE, bad),
        response_headers=(RULE,) * 51,
    )
    assert applied(TrafficConfiguration(), spec) == {
        "timeouts.connect_s": ["Between 0.1 and 300 seconds."],
        "passive_health.backoff_max_s": ["The longest pause cannot be shorter than the first one."],
        "retries.max_attempts": ["Between 1 and 10."],
        "limits.max_body_bytes": ["Between 0 and 1125899906842624 bytes."],
        "request_headers[1].name": ["A field name has letters, digits and hyphens, and no spaces."],
        "request_headers[1].value": ["Enter a value; to drop the field, remove it."],
        "response_headers": ["At most 50 rules."],
    }


def test_every_column_has_its_section() -> None:
    """No name stands in two, which the columns could not hold apart."""
    columns = {field.name for field in TrafficConfiguration._meta.get_fields()}
    assert columns == SECTION_OF.keys() | {"id", "host", "request_headers", "response_headers", "header_secrets"}


@pytest.mark.parametrize("value", [True, "5", 5])
def test_numbers_become_those_of_the_column(value: object) -> None:
    """So that the compiled entry has the same bytes whoever wrote it."""
    configuration = TrafficConfiguration()
    assert applied(configuration, HostSpec(timeouts={"connect_s": value})) == {}  # type: ignore[dict-item]
    assert isinstance(configuration.connect_s, float)
