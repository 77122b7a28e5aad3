"""Where the work of a moment comes from."""

import asyncio
import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from aegis_site.kernel.audit.origin import Origin, current_source, source

MANAGE = str(Path(__file__).parents[4] / "manage.py")


def test_aegis_itself_unless_said_otherwise() -> None:
    """A block says so and ends with its error, too; inner blocks give way to outer ones."""
    assert current_source().origin == Origin.SYSTEM
    with source(Origin.API, client_address="192.0.2.1"):
        with suppress(ZeroDivisionError), source(Origin.COMMAND):
            assert current_source().client_address is None
            raise ZeroDivisionError
        assert (current_source().origin, current_source().client_address) == (Origin.API, "192.0.2.1")
    assert current_source().origin == Origin.SYSTEM
    assert current_source().actor() is None


def test_tasks_keep_their_own() -> None:
    """What one task sets, another that runs meanwhile does not see."""

    async def seen_in(origin: Origin) -> Origin:
        with source(origin):
            await asyncio.sleep(0)
            return current_source().origin

    async def both() -> list[Origin]:
        return await asyncio.gather(seen_in(Origin.API), seen_in(Origin.ADMIN))

    assert asyncio.run(both()) == [Origin.API, Origin.ADMIN]


def test_commands_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is started by `manage.py`, Django's own commands included."""
    seen: list[Origin] = []
    monkeypatch.setattr(
        "django.core.management.execute_from_command_line", lambda argv: seen.append(current_source().origin)
    )
    monkeypatch.setattr(sys, "argv", ["manage.py", "createsuperuser"])
    runpy.run_path(MANAGE, run_name="__main__")
    assert seen == [Origin.COMMAND]


def test_it_loads_before_django_is_set_up() -> None:
    """`manage.py` says where commands come from before there are settings."""
    program = "import sys; import aegis_site.kernel.audit.origin; print('django.contrib.auth.models' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AEGIS", "DJANGO"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=Path(MANAGE).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"
