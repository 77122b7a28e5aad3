"""One entry of a document becomes a spec."""

import pytest
from django.core.exceptions import ValidationError

from hosts.exchange.incoming import IncomingEntries
from hosts.exchange.sealing import PassphraseSealer
from hosts.specs import HeaderRuleSpec
from tests.hosts.examples import make_host
from tests.hosts.exchange.examples import PASSPHRASE, entry
from upstream_tls.changes import KEEP


@pytest.fixture(scope="module")
def sealer() -> PassphraseSealer:
    return PassphraseSealer.for_export(PASSPHRASE)


def test_absent_keys_are_kept_and_the_entry_stays_as_it_was() -> None:
    """As PUT has it; what is read is not changed on the way."""
    document = entry(upstream_tls={"client_key_set": False}, downstream_tls={})
    before = repr(document)
    spec = IncomingEntries(None).spec_of(document, stored=None)
    assert (spec.upstream_tls.client_key, spec.downstream_tls.key) == ("", KEEP)
    assert repr(document) == before


def test_a_key_in_clear_goes_before_the_signs() -> None:
    """Somebody wrote it into an export."""
    tls = {"client_key": "pem", "client_key_set": True, "client_key_sealed": "x"}
    assert IncomingEntries(None).spec_of(entry(upstream_tls=tls), stored=None).upstream_tls.client_key == "pem"


@pytest.mark.django_db
def test_values_of_rules_that_are_left_out_are_to_be_kept() -> None:
    """As in a PUT: which of the stored ones each keeps is decided there; if none can be, it is named as keys are."""
    stored = make_host(request_headers=(HeaderRuleSpec(action="set", name="x-token", value="canary", sensitive=True),))
    rules = [{"action": "set", "name": "X-Token", "sensitive": True, "value_set": True}]
    document = entry(request_headers=rules, upstream_tls={"client_key_set": True})
    with pytest.raises(ValidationError) as error:
        IncomingEntries(None).spec_of(document, stored=None)
    assert {path: errors[0].code for path, errors in error.value.error_dict.items()} == dict.fromkeys(
        ("upstream_tls.client_key", "request_headers[0].value"), "secret_left_out"
    )
    spec = IncomingEntries(None).spec_of(entry(request_headers=rules), stored=stored)
    assert spec.request_headers == (HeaderRuleSpec(action="set", name="X-Token", value=KEEP, sensitive=True),)
    rules[0]["action"] = "add"
    with pytest.raises(ValidationError, match="no such rule"):
        IncomingEntries(None).spec_of(entry(request_headers=rules), stored=stored)


def test_a_sealed_value_opens_at_the_field_it_was_sealed_for(sealer: PassphraseSealer) -> None:
    """Whatever its position."""
    host_id = "5b8fbfa1-2a5c-46f3-97eb-b720c8859a17"
    sealed = sealer.seal("canary", host_id=host_id, place="request_headers.x-token")
    rules = [{"action": "set", "name": "X-Token", "value_sealed": sealed}]
    spec = IncomingEntries(sealer).spec_of(entry(id=host_id, request_headers=rules), stored=None)
    assert spec.request_headers == (HeaderRuleSpec(action="set", name="X-Token", value="canary", sensitive=True),)
    rules[0]["name"] = "X-Other"
    with pytest.raises(ValidationError) as error:
        IncomingEntries(sealer).spec_of(entry(id=host_id, request_headers=rules), stored=None)
    assert error.value.error_dict["request_headers[0].value"][0].code == "sealed_value_unreadable"
