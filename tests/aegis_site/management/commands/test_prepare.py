"""`manage.py prepare`: the first-run steps, and a refusal without a traceback."""

import os
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from aegis_site.instance_lock import InstanceLock
from localca.selectors import active_authority

pytestmark = pytest.mark.django_db


def test_it_makes_an_installation_ready_and_may_be_repeated(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The generated password is on standard output, once."""
    settings.AEGIS_DATA_DIR = tmp_path
    call_command("prepare")
    call_command("prepare")
    assert capsys.readouterr().out.count("Created the user admin with password ") == 1
    assert User.objects.filter(username="admin").exists()
    assert active_authority() is not None


def test_a_refusal_is_one_text(settings: Settings, tmp_path: Path) -> None:
    """What the operator has to do, as a CommandError."""
    settings.AEGIS_DATA_DIR = tmp_path
    with InstanceLock(tmp_path), pytest.raises(CommandError, match=f"pid {os.getpid()}"):
        call_command("prepare")
