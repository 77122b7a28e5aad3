"""What the docs say about the site settings: every setting and every code is there."""

import re

from aegis_site.environment import BASE_DIR
from aegis_site.kernel.site_settings.services import PATHS
from aegis_site.kernel.site_settings.smtp import MESSAGES


def section(file_name: str, heading: str) -> str:
    """A section of a page, without its heading."""
    page = "\n" + (BASE_DIR / "docs" / file_name).read_text()
    rest = page.partition(f"\n{heading}\n")[2]
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_every_setting_is_described() -> None:
    """In the table, those of the hosts' form together."""
    rows = section("operations.md", "## Settings")
    described = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", rows))
    assert described == {path for path in PATHS.values() if not path.startswith("host_defaults.")}
    assert "`host_defaults.*`" in rows


def test_every_code_is_described() -> None:
    """With what to do about it."""
    rows = section("operations.md", "## Settings").partition("| code |")[2]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", rows, flags=re.MULTILINE)) == MESSAGES.keys() - {""}
