"""Errors under paths."""

import pytest
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from hosts.field_errors import FieldErrors


def test_errors_are_collected_under_their_paths() -> None:
    """Fields below a path, what belongs to no field at the path, the rest at the top."""
    errors = FieldErrors()
    with errors.under("upstreams[0]"):
        raise ValidationError({"address": "bad", NON_FIELD_ERRORS: ["worse"]})
    with errors.under("domains"):
        raise ValidationError([ValidationError("one"), ValidationError("two")])
    with errors.under(""):
        raise ValidationError({"name": "taken"})
    with errors.under(""):
        raise ValidationError("at large")
    with pytest.raises(ValidationError) as caught:
        errors.raise_if_any()
    assert caught.value.message_dict == {
        "upstreams[0].address": ["bad"],
        "upstreams[0]": ["worse"],
        "domains": ["one", "two"],
        "name": ["taken"],
        NON_FIELD_ERRORS: ["at large"],
    }


def test_no_error_raises_nothing() -> None:
    """And an exception of another kind is not swallowed."""
    errors = FieldErrors()
    with errors.under("x"):
        pass
    errors.raise_if_any()
    with pytest.raises(KeyError), errors.under("x"):
        raise KeyError
