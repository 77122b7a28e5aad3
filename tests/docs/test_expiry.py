"""docs/operations.md names every role of the timeline, and none that there is not."""

import re

from aegis_site.environment import BASE_DIR
from hosts.expiry.expiring import Role

PAGE = (BASE_DIR / "docs" / "operations.md").read_text()


def test_the_page_and_the_timeline_name_the_same_roles() -> None:
    """By the names that the API and the gauge have."""
    section = PAGE.partition("\n## Expiry\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)] == Role.values
