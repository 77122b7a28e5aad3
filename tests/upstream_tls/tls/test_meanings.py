"""Codes without their evidence."""

import pytest

from upstream_tls.tls.meanings import meaning_of
from upstream_tls.tls.remedies import REMEDIES


@pytest.mark.parametrize("code", REMEDIES)
def test_every_diagnosis_has_a_meaning(code: str) -> None:
    """Both texts are sentences, and no word is left to be filled in."""
    meaning = meaning_of(code)
    assert meaning is not None
    for text in (meaning.cause, meaning.fix):
        assert text.endswith(".")
        assert "{" not in text


def test_the_fix_is_that_of_the_diagnosis_in_general_words() -> None:
    """Who needs the names runs the test."""
    meaning = meaning_of("unknown_authority")
    assert meaning is not None
    assert meaning.fix == "Add the CA certificate of its issuer to CA Certificate."


def test_other_codes_say_it_all() -> None:
    """The worker's reason stands beside them."""
    assert meaning_of("bad_response") is None
