"""The table of docs/proxy.md has every setting of a host's traffic under its label, with its default and its bounds."""

import re

import pytest
from django.db.models import Field

from aegis_site.environment import BASE_DIR
from hosts.traffic import SECTION_OF
from hosts.traffic_models import BOUNDS, TrafficConfiguration

PAGE = (BASE_DIR / "docs" / "proxy.md").read_text()
ROWS = {
    row.split("`")[1]: [cell.strip() for cell in row.split("|")[1:-1]] for row in PAGE.splitlines() if row[:3] == "| `"
}
_UNITS = {"s": 1, "h": 3600, "day": 86_400, "days": 86_400, "PiB": 2**50}


def number(text: str) -> float:
    """The first number of a cell, in seconds or bytes: `30 days`, `0: no limit`, `10 000`."""
    found = re.match(r"([0-9][0-9 .]*)([A-Za-z]+)?", text)
    assert found is not None
    return float(found[1].replace(" ", "")) * _UNITS.get(found[2] or "", 1)


@pytest.mark.parametrize(("name", "section"), SECTION_OF.items())
def test_every_setting_has_its_row(name: str, section: str) -> None:
    """As model, form and API have it."""
    _, label, default, admitted = ROWS[f"{section}.{name}"]
    field = TrafficConfiguration._meta.get_field(name)
    assert isinstance(field, Field)
    low, _, high = admitted.partition(" to ")
    assert label.startswith(str(field.verbose_name))
    assert number(default) == field.default
    assert (number(low), number(high)) == (BOUNDS[name].low, BOUNDS[name].high)
