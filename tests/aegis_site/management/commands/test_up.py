"""`manage.py up`: the first-run steps, then the supervisor takes the process over. `tests/e2e` runs the whole."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from aegis_site import instance
from aegis_site.instance_lock import InstanceLock
from localca.selectors import active_authority

pytestmark = pytest.mark.django_db


@pytest.fixture
def becomes(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The arguments with which the supervisor was started."""
    settings.AEGIS_DATA_DIR = tmp_path
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(instance, "become", lambda *arguments: calls.append(arguments))
    return calls


def test_the_supervisor_starts_when_all_is_prepared(becomes: list[tuple[str, ...]]) -> None:
    """Without arguments: there is no demo."""
    call_command("up")
    assert becomes == [()]
    assert active_authority() is not None


def test_a_running_instance_keeps_the_supervisor_from_starting(becomes: list[tuple[str, ...]], tmp_path: Path) -> None:
    """Refused in words, and nothing is started."""
    with InstanceLock(tmp_path), pytest.raises(CommandError, match="already runs"):
        call_command("up")
    assert becomes == []
