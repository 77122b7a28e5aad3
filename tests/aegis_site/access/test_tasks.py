"""The sweeps of this app are in the one table of periodic work, and known to the worker."""

import subprocess
import sys

from aegis_site.access.tasks import prune_expired_sessions, prune_expired_tokens
from aegis_site.celery import app
from aegis_site.environment import BASE_DIR


def test_pruning_is_periodic() -> None:
    """Beat knows it by its name."""
    periodic = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {prune_expired_tokens.name, prune_expired_sessions.name} <= periodic


def test_the_worker_of_up_knows_every_periodic_task() -> None:
    """Its settings have fewer apps than those of the admin; none that is needed is missing."""
    program = (
        "import django; django.setup()\n"
        "from aegis_site.celery import app\n"
        "app.loader.import_default_modules()\n"
        "print({entry['task'] for entry in app.conf.beat_schedule.values()} - set(app.tasks))"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "aegis_site.settings_worker",
        "AEGIS_SECRET_KEY": "x" * 50,
        "CELERY_SKIP_CHECKS": "1",
    }
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
