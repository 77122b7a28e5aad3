"""sums: what rows of health summaries come to together, and what is read from that."""

import pytest
from django.forms.models import model_to_dict

from healthchecks.models import HealthSummary
from healthchecks.sums import Sums, mean_ms, quantile_ms, summed, total
from tests.healthchecks.examples import checked_host
from tests.healthchecks.test_summaries import counted


def test_what_was_never_fast_has_no_durations() -> None:
    """None, and not zero."""
    sums = Sums.of(counted(failed=("timeout",)))
    assert (mean_ms(sums), quantile_ms(sums, 0.95), sums.min_ms) == (None, None, None)


def test_a_mean_is_that_of_good_checks() -> None:
    """To a tenth."""
    assert mean_ms(Sums.of(counted(2, 3, 2000, failed=("timeout",)))) == 668.3


@pytest.mark.parametrize(
    ("durations_ms", "share", "expected"),
    [
        ((7,), 0.95, 7.0),
        ((1, 1, 1, 1), 0.5, 1.0),
        ((30,) * 90 + (400,) * 10, 0.5, 38.9),
        ((30,) * 90 + (400,) * 10, 0.95, 375.0),
        ((5000,) * 10, 0.95, 5000.0),
        ((1,) * 50 + (3000,) * 50, 0.95, 2800.0),
        ((0,), 0.95, 0.0),
    ],
)
def test_a_quantile_is_read_from_the_histogram(durations_ms: tuple[int, ...], share: float, expected: float) -> None:
    """Within its bounds, and within what was measured."""
    assert quantile_ms(Sums.of(counted(*durations_ms)), share) == expected


def test_adding_loses_nothing() -> None:
    """Two rows together are as if all checks had been counted in one."""
    parts = [counted(2, 3, failed=("timeout",)), counted(2000, failed=("timeout", "reset")), counted()]
    both = counted(2, 3, 2000, failed=("timeout", "timeout", "reset"))
    found = total([Sums.of(part) for part in parts])
    assert found == Sums.of(both)
    assert model_to_dict(found.row()) == model_to_dict(both)


@pytest.mark.django_db
def test_rows_of_all_spans_are_summed() -> None:
    """By steps; a step that has a longer row is said to be as long as that."""
    upstream_id = checked_host().upstreams.get().pk
    for span_s, start_s in ((60, 6000), (60, 6540), (600, 6600), (3600, 3600)):
        HealthSummary.objects.create(upstream_id=upstream_id, span_s=span_s, start_s=start_s, count=2, max_ms=span_s)
    found = [
        (row.start_s, row.span_s, row.count, row.max_ms) for row in summed(HealthSummary.objects.all(), step_s=600)
    ]
    assert found == [(3600, 3600, 2, 3600), (6000, 600, 4, 60), (6600, 600, 2, 600)]
