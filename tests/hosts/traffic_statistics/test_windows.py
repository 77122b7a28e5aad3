"""The times over which traffic is shown."""

import pytest

from hosts.traffic_statistics.windows import Steps, Window
from tests.hosts.traffic_statistics.examples import NOW_S


@pytest.mark.parametrize(("window", "count"), [(Window.HOUR, 60), (Window.DAY, 144), (Window.WEEK, 168)])
def test_a_window_ends_with_the_step_that_runs(window: Window, count: int) -> None:
    """So the newest is seen at once, and a step is the same one until it is over."""
    steps = Steps.ending(NOW_S + 30.5, window)
    assert (len(steps.starts), steps.starts[-1], steps.until_s) == (count, NOW_S, NOW_S + 30.5)
    assert Steps.ending(NOW_S + 59.0, window).starts == steps.starts
