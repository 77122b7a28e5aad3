"""`manage.py demo`: wires the demo, then starts the supervisor with it. `tests/e2e` runs the whole."""

import logging
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from aegis_site import instance
from hosts.models import Host

pytestmark = pytest.mark.django_db


@pytest.fixture
def becomes(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The arguments with which the supervisor was started."""
    settings.AEGIS_DATA_DIR = tmp_path
    monkeypatch.delenv("AEGIS_DEMO_UPSTREAM", raising=False)
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(instance, "become", lambda *arguments: calls.append(arguments))
    return calls


def test_the_supervisor_is_told_where_the_upstream_listens(becomes: list[tuple[str, ...]]) -> None:
    """The same address as that of the host's upstream."""
    call_command("demo")
    upstream = Host.objects.get(domains__name="demo.localhost").upstreams.get()
    assert becomes == [("--demo", f"{upstream.address}:{upstream.port}")]
    assert logging.getLogger("hosts.publish").level == logging.NOTSET


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"AEGIS_IS_EMBEDDED": False}, "unset AEGIS_DATABASE_URL"),
        ({"AEGIS_PROXY_HTTP": []}, "set AEGIS_PROXY_HTTP"),
        ({"AEGIS_PROXY_HTTP": ["127.0.0.1:8080 proxy_protocol"]}, "an HTTP listener without proxy_protocol"),
    ],
)
def test_where_it_cannot_work_it_says_why(
    becomes: list[tuple[str, ...]], settings: Settings, changes: dict[str, object], reason: str
) -> None:
    """Not on a production database, and not without an HTTP listener for the printed command."""
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(CommandError, match=reason):
        call_command("demo")
    assert becomes == []


def test_a_malformed_address_is_one_text(becomes: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """AEGIS_DEMO_UPSTREAM is named."""
    monkeypatch.setenv("AEGIS_DEMO_UPSTREAM", "nowhere")
    with pytest.raises(CommandError, match="AEGIS_DEMO_UPSTREAM: 'nowhere' is not an address"):
        call_command("demo")
    assert becomes == []
