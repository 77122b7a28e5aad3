"""kinds: what is said of each."""

import datetime

from aegis_site.kernel.notifications.kinds import CRITICAL, ENDS, LASTING, EventKind, Severity, quiet_time, severity_of


def test_every_kind_has_a_severity() -> None:
    """An end is good news, what clients notice is critical."""
    assert {severity_of(kind) for kind in ENDS} == {Severity.GOOD}
    assert severity_of(EventKind.HOST_WITHOUT_UPSTREAM) == Severity.CRITICAL
    assert severity_of(EventKind.TLS_FAILURE) == Severity.WARNING


def test_who_is_woken_up_hears_the_end() -> None:
    """Of each critical kind that ends, the end is critical too."""
    assert {end for end, beginning in ENDS.items() if beginning in CRITICAL} <= CRITICAL
    assert set(ENDS.values()) <= LASTING


def test_how_long_something_is_no_news() -> None:
    """A rotation is always news, an expiry once, the rest once a day."""
    assert quiet_time(EventKind.ROTATION) < datetime.timedelta(0)
    assert quiet_time(EventKind.CERTIFICATE_EXPIRY) == datetime.timedelta.max
    assert quiet_time(EventKind.UPSTREAM_DOWN) == datetime.timedelta(hours=24)
