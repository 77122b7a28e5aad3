"""How traffic is drawn."""

import re
import uuid
from xml.etree import ElementTree

import pytest
from django.template.loader import render_to_string

from hosts.traffic_statistics.plots import (
    fleet_plots,
    host_plots,
    milliseconds,
    per_s,
    percent,
    plots_of,
    rows_of,
    sparkline_svg,
)
from hosts.traffic_statistics.selectors import Sparkline, host_series, sparklines
from hosts.traffic_statistics.windows import Window
from tests.hosts.traffic_statistics.examples import NOW_S, minute, told

pytestmark = pytest.mark.django_db

HOST = uuid.UUID(int=7)


def test_a_plot_says_what_it_draws() -> None:
    """The newest whole step, the highest value and the upper edge, in words with units."""
    told(
        minute(HOST, NOW_S - 120, successes=600, upto_10_ms=600),
        minute(HOST, NOW_S - 60, successes=90, server_errors=30, handshake_failures=3, handshakes=3, upto_2_ms=120),
    )
    requests, errors, durations, handshakes = host_plots(HOST, Window.HOUR, now_s=NOW_S + 10.0)
    assert requests.description == "Requests per second in the last hour: highest 10 /s, newest 2 /s."
    assert (requests.top, requests.latest, requests.width) == ("10 /s", "2 /s", 60)
    assert requests.lines[0].d.endswith("H57V0H58V80H59V100H60")
    assert (errors.latest, errors.top) == ("25 %", "50 %")
    assert errors.lines[0].d == "M57 100H58V50H59"
    assert (durations.latest, [line.name for line in durations.lines]) == ("1.5 ms / 1.99 ms", ["p50", "p99"])
    assert (handshakes.latest, handshakes.top) == ("3", "5")
    assert rows_of(host_series(HOST, Window.HOUR, now_s=NOW_S + 10.0))[1].errors == "4.17 %"


def test_nothing_happened() -> None:
    """Lines along the ground where zero is a fact, none where nothing was measured."""
    requests, errors, _, handshakes = fleet_plots(Window.WEEK, now_s=NOW_S)
    assert (requests.latest, requests.lines[0].d[:8], handshakes.latest) == ("0 /s", "M0 100H1", "0")
    assert (errors.lines[0].d, errors.description) == ("", "Error rate in the last 7 days: no traffic.")


def test_the_drawing_is_wellformed_and_named() -> None:
    """Each SVG has a title, a description, and a name for those who do not see it."""
    told(minute(HOST, NOW_S - 60, successes=5, upto_1_ms=5))
    plots = plots_of(host_series(HOST, Window.DAY, now_s=NOW_S))
    html = render_to_string("hosts/traffic_plots.html", {"plots": plots})
    drawings = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314
    assert len(drawings) == 4
    for drawing, plot in zip(drawings, plots, strict=True):
        assert (drawing.get("role"), drawing.get("aria-label")) == ("img", plot.description)
        assert [element.tag for element in drawing][:2] == ["title", "desc"]


def test_a_cell_of_a_list_has_a_line() -> None:
    """And its numbers as text."""
    told(minute(HOST, NOW_S - 60, successes=1200))
    found = sparklines([HOST], now_s=NOW_S)[HOST]
    assert 'aria-label="1,200 requests in the last 24 hours, 0 % errors"' in sparkline_svg(found)
    assert ElementTree.fromstring(sparkline_svg(found)).tag == "svg"  # noqa: S314
    assert "no traffic" in sparkline_svg(Sparkline(requests_per_s=(0.0,), requests=0, error_rate=None))


def test_numbers_have_as_many_digits_as_say_something() -> None:
    """Whatever their size."""
    assert [per_s(value) for value in (0, 0.0123, 3.14159, 12.34, 1234.5)] == [
        *("0 /s", "0.0123 /s", "3.14 /s", "12.3 /s", "1,234 /s")
    ]
    assert [percent(value) for value in (None, 0.0, 0.00012, 1.0)] == ["\N{EN DASH}", "0 %", "0.012 %", "100 %"]
    assert [milliseconds(value) for value in (None, 0.5, 250.0, 1500.0)] == ["\N{EN DASH}", "0.5 ms", "250 ms", "1.5 s"]
