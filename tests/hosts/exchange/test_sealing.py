"""Secrets of an export under a passphrase."""

import pytest

from hosts.exchange.sealing import PassphraseSealer, PassphraseUnusable, SealedValueUnreadable
from tests.hosts.exchange.examples import PASSPHRASE


@pytest.fixture(scope="module")
def sealer() -> PassphraseSealer:
    return PassphraseSealer.for_export(PASSPHRASE)


def test_what_was_sealed_opens_with_the_passphrase_and_the_header(sealer: PassphraseSealer) -> None:
    """In another process, which has nothing else."""
    sealed = sealer.seal("a key", host_id="h", place="p")
    reader = PassphraseSealer.of_document(PASSPHRASE, sealer.header)
    assert reader.open(sealed, host_id="h", place="p") == "a key"
    assert "a key" not in sealed


@pytest.mark.parametrize(("host_id", "place"), [("other", "p"), ("h", "other")])
def test_a_sealed_value_opens_at_its_place_only(sealer: PassphraseSealer, host_id: str, place: str) -> None:
    """Neither at another host nor in another field."""
    sealed = sealer.seal("a key", host_id="h", place="p")
    with pytest.raises(SealedValueUnreadable) as error:
        sealer.open(sealed, host_id=host_id, place=place)
    assert error.value.code == "sealed_value_unreadable"


@pytest.mark.parametrize("sealed", ["", "not base64!", "AAAA", "ünïcode"])
def test_what_is_no_sealed_value_does_not_open(sealer: PassphraseSealer, sealed: str) -> None:
    """It fails like a changed one."""
    with pytest.raises(SealedValueUnreadable):
        sealer.open(sealed, host_id="h", place="p")


def test_another_passphrase_is_told_at_once(sealer: PassphraseSealer) -> None:
    """Before any value is tried."""
    with pytest.raises(PassphraseUnusable) as error:
        PassphraseSealer.of_document(PASSPHRASE + "!", sealer.header)
    assert error.value.code == "wrong_passphrase"


@pytest.mark.parametrize(
    ("passphrase", "code"), [("x" * 14, "passphrase_too_short"), ("x" * 1025, "passphrase_too_long")]
)
def test_passphrases_have_bounds(passphrase: str, code: str) -> None:
    """One can be guessed, the other is a mistake."""
    with pytest.raises(PassphraseUnusable) as error:
        PassphraseSealer.for_export(passphrase)
    assert error.value.code == code


def test_a_newer_format_is_not_guessed_at(sealer: PassphraseSealer) -> None:
    """Its parameters are not known here."""
    with pytest.raises(PassphraseUnusable) as error:
        PassphraseSealer.of_document(PASSPHRASE, {**sealer.header, "version": 2})
    assert error.value.code == "sealing_version"


def test_a_sealer_shows_nothing(sealer: PassphraseSealer) -> None:
    """Neither key nor passphrase."""
    assert repr(sealer) == "<PassphraseSealer>"
