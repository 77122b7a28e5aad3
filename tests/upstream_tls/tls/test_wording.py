"""The words that fill causes and fixes."""

import datetime

from upstream_tls.tls.evidence import Evidence, Stage
from upstream_tls.tls.wording import listed, moment, words_of


def test_moments_are_gos() -> None:
    """RFC 3339 in UTC, to the second."""
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert moment(datetime.datetime(2026, 5, 1, 14, 0, 0, 999, tzinfo=zone)) == "2026-05-01T12:00:00Z"
    assert moment(None) == "(unknown)"


def test_long_lists_are_cut() -> None:
    """Ten names, and how many more there are."""
    assert listed(("a", "b")) == "a, b"
    assert listed(tuple("abcdefghijkl")) == "a, b, c, d, e, f, g, h, i, j and 2 more"


def test_position_in_the_chain_is_told() -> None:
    """The upstream's own certificate, or how far above it."""
    assert words_of(Evidence(stage=Stage.TLS))["position"] == "the upstream's own"
    assert words_of(Evidence(stage=Stage.TLS, depth=2))["position"] == "number 2 above the upstream's own"


def test_evidence_without_anything_gives_words_all_the_same() -> None:
    """Every value is a text."""
    assert all(isinstance(word, str) for word in words_of(Evidence(stage=Stage.DNS)).values())
