"""Secret values of header rules: stored sealed, kept when they are not given, never needed otherwise."""

import json
import uuid
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from aegis_site.kernel.fields import Sealed
from hosts.field_errors import FieldErrors
from hosts.specs import HeaderRuleSpec, HostSpec
from hosts.traffic import apply_traffic
from hosts.traffic_models import TrafficConfiguration
from upstream_tls.changes import KEEP

CANARY = "Bearer canary-of-a-rule"


def rule(name: str = "Authorization", value: Any = CANARY, action: str = "set", **options: Any) -> HeaderRuleSpec:
    return HeaderRuleSpec(action=action, name=name, value=value, **options)


def applied(configuration: TrafficConfiguration, *rules: HeaderRuleSpec, **spec: Any) -> dict[str, list[str]]:
    """The messages by path."""
    errors = FieldErrors()
    apply_traffic(configuration, HostSpec(request_headers=rules, **spec), errors)
    try:
        errors.raise_if_any()
    except ValidationError as error:
        return error.message_dict
    return {}


def values(configuration: TrafficConfiguration) -> list[str]:
    """Of the rules for requests, in order."""
    sealed = configuration.header_secrets
    secrets = json.loads(sealed.reveal()) if sealed else {}
    return [secrets[rule["secret"]] if "secret" in rule else rule["value"] for rule in configuration.request_headers]


@pytest.mark.parametrize(
    "secret", [rule(), rule("X-Upstream", "Basic dXNlcjpwdw=="), rule("X-Team", "canary", sensitive=True)]
)
def test_what_looks_like_a_credential_or_is_called_one_is_sealed(secret: HeaderRuleSpec) -> None:
    """By the name of its field, by the value, or because it was marked."""
    configuration = TrafficConfiguration()
    assert applied(configuration, secret, rule("X-Plain", "v"), rule("Cookie", KEEP, "remove")) == {}
    first, *others = configuration.request_headers
    assert set(first) == {"action", "name", "secret"}
    assert [stored["value"] for stored in others] == ["v", ""]
    assert values(configuration)[0] == secret.value


def test_without_secrets_nothing_is_sealed() -> None:
    """And what was sealed goes with its rule."""
    configuration = TrafficConfiguration()
    assert applied(configuration, rule()) == {}
    assert applied(configuration, rule("X-Plain", "v")) == {}
    assert configuration.header_secrets is None


def test_a_value_that_is_not_given_is_kept() -> None:
    """Under its name, without being sealed anew; so is an equal one; another one has another name."""
    configuration = TrafficConfiguration()
    assert applied(configuration, rule(), rule("X-Plain", "v")) == {}
    (secret, sealed) = (configuration.request_headers[0]["secret"], configuration.header_secrets)
    for same in (rule(value=KEEP), rule("AUTHORIZATION", KEEP), rule()):
        assert applied(configuration, rule("X-Plain", KEEP), same) == {}
        assert configuration.request_headers[1]["secret"] == secret
        assert configuration.header_secrets is sealed
        assert values(configuration) == ["v", CANARY]
    assert applied(configuration, rule(value="Bearer other")) == {}
    assert configuration.request_headers[0]["secret"] != secret
    assert values(configuration) == ["Bearer other"]


def test_a_kept_value_stays_a_secret_and_may_become_one() -> None:
    """Only who knows it can store it in clear."""
    configuration = TrafficConfiguration()
    assert applied(configuration, rule("X-A", "1", sensitive=True), rule("X-B", "2")) == {}
    assert applied(configuration, rule("X-A", KEEP), rule("X-B", KEEP, sensitive=True)) == {}
    assert all("secret" in stored for stored in configuration.request_headers)
    assert applied(configuration, rule("X-A", "1"), rule("X-B", KEEP)) == {}
    assert "secret" not in configuration.request_headers[0]
    assert values(configuration) == ["1", "2"]


def test_there_must_be_something_to_keep() -> None:
    """Of that action and name, in that direction."""
    configuration = TrafficConfiguration()
    assert applied(configuration, rule()) == {}
    message = ["Enter a value: this host has no such rule whose value could be kept."]
    refused = applied(configuration, rule(action="add", value=KEEP), rule("X-Api-Key", KEEP))
    assert refused == {"request_headers[0].value": message, "request_headers[1].value": message}
    configuration = TrafficConfiguration()
    assert applied(configuration, rule()) == {}
    spec = HostSpec(response_headers=(rule(value=KEEP),))
    errors = FieldErrors()
    apply_traffic(configuration, spec, errors)
    with pytest.raises(ValidationError) as caught:
        errors.raise_if_any()
    assert list(caught.value.message_dict) == ["response_headers[0].value"]


def test_of_several_with_one_name_none_gets_the_value_of_another() -> None:
    """Each keeps its own by order; with one more or less it cannot be told which is meant."""
    configuration = TrafficConfiguration()
    first, second = (rule("Cookie", f"c={number}", "add") for number in (1, 2))
    assert applied(configuration, first, rule("Cookie", "c=3"), second) == {}
    kept = rule("cookie", KEEP, "add")
    assert applied(configuration, kept, kept, rule("Cookie", KEEP)) == {}
    assert values(configuration) == ["c=1", "c=2", "c=3"]
    for rules in ((kept,), (kept, kept, kept)):
        untouched = TrafficConfiguration(
            request_headers=configuration.request_headers, header_secrets=configuration.header_secrets
        )
        refused = applied(untouched, *rules)
        assert set(refused) == {f"request_headers[{position}].value" for position in range(len(rules))}
        assert "another number" in refused["request_headers[0].value"][0]


def test_a_secret_that_does_not_open_is_entered_again() -> None:
    """All else about the host can be changed meanwhile, and the rules can be removed."""
    configuration = TrafficConfiguration()
    assert applied(configuration, rule(), rule("X-Api-Key", "canary")) == {}
    sealed = Sealed(blob=b"\x01" * 80, place=uuid.uuid4().bytes)
    configuration.header_secrets = sealed
    assert applied(configuration, rule(value=KEEP), rule("X-Api-Key", KEEP), timeouts={"connect_s": 2.0}) == {}
    assert configuration.header_secrets is sealed
    refused = applied(configuration, rule(value=KEEP))
    assert list(refused) == ["request_headers[0].value"]
    assert "enter it again" in refused["request_headers[0].value"][0]
    assert applied(configuration, rule()) == {}
    assert values(configuration) == [CANARY]


def test_nothing_shows_a_value() -> None:
    """Neither what is asked for nor what is stored."""
    configuration = TrafficConfiguration()
    assert applied(configuration, rule()) == {}
    assert "canary" not in repr((rule(), configuration.__dict__))
