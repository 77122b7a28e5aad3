"""What stands around the hosts."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from rest_framework import exceptions

from hosts.exchange.envelope import open_envelope
from hosts.exchange.sealing import PassphraseSealer
from tests.hosts.exchange.examples import PASSPHRASE, entry

WHOLE: dict[str, Any] = {"aegis_export": 1, "exported_at": "2026-11-24T12:00:00Z", "hosts": [entry()]}


@pytest.fixture(scope="module")
def sealing() -> dict[str, Any]:
    return {**PassphraseSealer.for_export(PASSPHRASE).header}


def test_hosts_and_no_passphrase() -> None:
    """Sealed values will say that they need one."""
    envelope = open_envelope(WHOLE)
    assert (envelope.entries, envelope.sealer) == ([entry()], None)


def test_the_passphrase_opens(sealing: dict[str, Any]) -> None:
    """From the document, or from beside it; neither it nor what it opens shows."""
    inside = open_envelope({**WHOLE, "sealing": sealing, "passphrase": PASSPHRASE})
    beside = open_envelope({**WHOLE, "sealing": sealing}, passphrase=PASSPHRASE)
    for envelope in (inside, beside):
        assert envelope.sealer is not None
        assert PASSPHRASE not in repr(envelope)
        assert "sealer" not in repr(envelope)


def test_a_wrong_passphrase(sealing: dict[str, Any]) -> None:
    """Is one error, at the passphrase."""
    with pytest.raises(ValidationError) as error:
        open_envelope({**WHOLE, "sealing": sealing, "passphrase": "another long passphrase"})
    assert error.value.error_dict["passphrase"][0].code == "wrong_passphrase"


@pytest.mark.parametrize("document", [None, [], "x", 7])
def test_what_is_no_document(document: Any) -> None:
    """A list of hosts alone is none either."""
    with pytest.raises(exceptions.ValidationError, match="mapping with aegis_export and hosts"):
        open_envelope(document)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"aegis_export": 2}, "aegis_export"),
        ({"hosts": {}}, "hosts"),
        ({"hosts": ["x"]}, "hosts"),
        ({"host": []}, "host"),
        ({"sealing": {"version": "x"}}, "sealing"),
        ({"passphrase": "x" * 1025}, "passphrase"),
    ],
)
def test_what_is_wrong_around_the_hosts(changes: dict[str, Any], field: str) -> None:
    """At its place."""
    with pytest.raises(exceptions.ValidationError) as error:
        open_envelope({**WHOLE, **changes})
    assert isinstance(error.value.detail, dict)
    assert list(error.value.detail) == [field]
