"""From the traffic part of a document to a spec."""

from dataclasses import asdict, fields

import pytest

from hosts.api.serializers import HostSerializer
from hosts.api.traffic_serializers import HeaderRuleSerializer, traffic_of
from hosts.specs import HeaderRuleSpec
from hosts.traffic import SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_the_snapshot_can_be_written(section: str) -> None:
    """A field that the workers know and the API does not would be forgotten here: this fails first."""
    serializer = HostSerializer().fields[section]
    assert list(serializer.fields) == [field.name for field in fields(SECTIONS[section])]


def test_every_part_of_a_rule_can_be_written() -> None:
    """As above."""
    assert set(HeaderRuleSerializer().fields) == {field.name for field in fields(HeaderRuleSpec)}


def test_a_whole_document_has_the_defaults_and_a_part_has_none() -> None:
    """What is absent means the default of the snapshot, or stays."""
    document = {"timeouts": {"connect_s": 1.0}, "request_headers": [{"action": "remove", "name": "Cookie"}]}
    whole = traffic_of(document, is_whole=True)
    assert whole["timeouts"] == asdict(SECTIONS["timeouts"]()) | {"connect_s": 1.0}
    assert whole["retries"] == asdict(SECTIONS["retries"]())
    assert whole["request_headers"] == (HeaderRuleSpec(action="remove", name="Cookie"),)
    assert whole["response_headers"] == ()
    part = traffic_of(document, is_whole=False)
    assert (part["timeouts"], part["retries"]) == ({"connect_s": 1.0}, {})
    assert "response_headers" not in part
