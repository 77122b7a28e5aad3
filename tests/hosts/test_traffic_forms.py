"""The traffic sections of the host editor, without a browser."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from hosts.forms import HostForm
from hosts.header_rules import KEPT
from hosts.models import Host
from hosts.specs import HeaderRuleSpec
from hosts.traffic_forms import SizeField
from hosts.traffic_models import TrafficConfiguration
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def bound(instance: Host | None = None, **values: Any) -> HostForm:
    """A submitted editor."""
    data = {"name": "orders", "domains": "orders.example.com", "load_balancing": "round_robin", **values}
    return HostForm(data, instance=instance)


def test_values_are_stored_and_shown() -> None:
    """Whole seconds without a fraction, sizes and rules as a person writes them."""
    form = bound(connect_s="1.5", max_body_bytes="10M", response_headers="X-Frame-Options: DENY\nremove Server")
    assert form.is_valid(), form.errors
    assert (form.traffic.connect_s, form.traffic.tls_s, form.traffic.max_body_bytes) == (1.5, 5.0, 10 * 2**20)
    form.traffic.host = host = Host.objects.create(name="orders")
    form.traffic.save()
    shown = HostForm(instance=host)
    assert [shown[name].value() for name in ("connect_s", "tls_s", "max_body_bytes")] == [1.5, 5, "10m"]
    assert shown["response_headers"].value() == "set X-Frame-Options: DENY\nremove Server"


def test_an_empty_field_has_its_default_and_a_missing_one_is_left_alone() -> None:
    """Emptying is how one gets rid of a value; a page of another version does not."""
    host = make_host(
        timeouts={"connect_s": 9.0, "tls_s": 9.0},
        request_headers=(HeaderRuleSpec(action="remove", name="Cookie"),),
        response_headers=(HeaderRuleSpec(action="remove", name="Server"),),
    )
    form = bound(host, connect_s="", response_headers="")
    assert form.is_valid(), form.errors
    assert (form.traffic.connect_s, form.traffic.tls_s) == (5.0, 9.0)
    assert len(form.traffic.request_headers) == 1
    assert form.traffic.response_headers == []


def test_errors_stand_at_the_fields() -> None:
    """Each once, with its bounds or its line, and what was entered is shown again."""
    form = bound(
        connect_s="0",
        tls_s="nan",
        max_attempts="many",
        backoff_max_s="0.5",
        max_body_bytes="ten",
        request_headers="X-A: b\nset Host: x",
    )
    assert {name: len(problems) for name, problems in form.errors.items()} == {
        "connect_s": 1,
        "tls_s": 1,
        "max_attempts": 1,
        "backoff_max_s": 1,
        "max_body_bytes": 1,
        "request_headers": 1,
    }
    assert form.errors["connect_s"] == ["Between 0.1 and 300 seconds."]
    assert form.errors["request_headers"][0].startswith("Line 2: ")
    assert form["request_headers"].value() == "X-A: b\nset Host: x"


def test_a_refused_form_leaves_what_is_stored() -> None:
    """The page shows the instance beside the form."""
    host = make_host()
    assert not bound(host, connect_s="0").is_valid()
    assert host.traffic.connect_s == 5.0


@pytest.mark.parametrize(
    ("text", "number", "shown"),
    [
        ("0", 0, "0"),
        ("10m", 10 * 2**20, "10m"),
        ("1 MiB", 2**20, "1m"),
        ("512KB", 512 * 2**10, "512k"),
        ("1536k", 1536 * 2**10, "1536k"),
        ("2048m", 2 * 2**30, "2g"),
        ("1000", 1000, "1000"),
        ("7b", 7, "7"),
    ],
)
def test_sizes_have_units(text: str, number: int, shown: str) -> None:
    """Powers of 1024, as in nginx."""
    field = SizeField()
    assert field.clean(text) == number
    assert field.prepare_value(number) == shown


@pytest.mark.parametrize("text", ["ten", "-1", "1.5m", "10x", "9" * 17])
def test_other_texts_are_no_sizes(text: str) -> None:
    """The refusal has an example; what was entered is shown again."""
    field = SizeField()
    with pytest.raises(ValidationError, match="such as 10m"):
        field.clean(text)
    assert field.prepare_value(text) == text


def test_secrets_of_rules_are_kept_and_never_shown() -> None:
    """What is stored is called kept; what cannot be kept is refused at its field, with the number of the rule."""
    host = make_host(request_headers=(HeaderRuleSpec(action="set", name="X-Api-Key", value="canary"),))
    sealed = host.traffic.header_secrets.blob
    shown = HostForm(instance=host)["request_headers"].value()
    assert shown == f"set secret X-Api-Key: {KEPT}"
    form = bound(host, request_headers=shown)
    assert form.is_valid(), form.errors
    form.traffic.save()
    assert TrafficConfiguration.objects.get().header_secrets.blob == sealed
    form = bound(host, request_headers=f"X-A: b\nadd Cookie: {KEPT}\nset Authorization: Bearer canary")
    assert form.errors["request_headers"][0].startswith("Rule 2: Enter a value")
    assert "canary" not in str(form)
