"""File descriptors and the connections that they allow."""

import resource

import pytest

from proxyworker.net.descriptors import (
    MOST_BY_DEFAULT,
    RESERVED_DESCRIPTORS,
    TooFewDescriptors,
    connection_limit,
    raise_limit,
)


@pytest.mark.parametrize(
    ("wanted", "descriptors", "expected"),
    [
        (0, 20_256, 10_000),
        (0, 1024, 384),
        (0, 100, 16),
        (0, 1_048_576, MOST_BY_DEFAULT),
        (0, resource.RLIM_INFINITY, MOST_BY_DEFAULT),
        (384, 1024, 384),
        (10, 1024, 10),
        (100_000, 1_048_576, 100_000),
        (100_000, resource.RLIM_INFINITY, 100_000),
    ],
)
def test_connection_limit(wanted: int, descriptors: int, expected: int) -> None:
    """What was asked for, else half of what is left above the reserve, within reason."""
    assert connection_limit(wanted, descriptors) == expected


def test_more_than_can_be_had() -> None:
    """Is not promised: the text says what is missing."""
    with pytest.raises(TooFewDescriptors, match=f"385 connections need {770 + RESERVED_DESCRIPTORS} .* limit is 1024"):
        connection_limit(385, 1024)


def test_the_limit_is_raised_to_the_hard_one() -> None:
    """As far as a process without privileges may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        assert raise_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert raise_limit() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
