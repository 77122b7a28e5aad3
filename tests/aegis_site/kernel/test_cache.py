"""What stands in the shared cache."""

import json

import pytest

from aegis_site.kernel.cache import JSONSerializer

serializer = JSONSerializer()


@pytest.mark.parametrize("value", [None, True, "text", [1, "x"], {"a": 1.5}])
def test_values_are_json(value: object) -> None:
    """They come back as they were."""
    stored = serializer.dumps(value)
    assert isinstance(stored, bytes)
    assert serializer.loads(stored) == value


def test_numbers_stay_numbers() -> None:
    """Redis counts them."""
    assert serializer.dumps(3) == 3
    assert serializer.loads(b"4") == 4


def test_nothing_else_is_read() -> None:
    """A pickle in the cache is refused, not run."""
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        serializer.loads(b"\x80\x04cos\nsystem\n.")
