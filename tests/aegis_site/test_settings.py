"""What production is told to change, and what each process of `manage.py up` loads."""

import subprocess
import sys

import pytest

from aegis_site.environment import BASE_DIR

VARIABLES = {"AEGIS_SECRET_KEY": "".join(map(chr, range(48, 110))), "AEGIS_SSL_KEY": "0f" * 32}

_CELERY = "from aegis_site.celery import app; app.loader.import_default_modules()"
_PROXY = "import proxyworker.management.commands.runproxy"
# What serves pages and the API.
_HEAVY = ("rest_framework.views", "drf_spectacular", "django_filters", "axes", "unfold", "django.contrib.admin")


def output(*arguments: str, **variables: str) -> str:
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env={**VARIABLES, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout + run.stderr


def test_production_has_nothing_to_warn_of() -> None:
    """By Django's own checks of a deployment."""
    said = output(
        *("manage.py", "check", "--deploy", "--tag", "security", "--fail-level", "WARNING"),
        AEGIS_DATABASE_URL="postgres://aegis:password@127.0.0.1:5432/aegis",
        AEGIS_REDIS_URL="redis://127.0.0.1:6379/0",
        AEGIS_ALLOWED_HOSTS="aegis.example.com",
    )
    assert "no issues" in said


@pytest.mark.parametrize(
    ("settings", "program"),
    [("settings_proxy", _PROXY), ("settings_worker", _CELERY), ("settings_beat", f"{_CELERY}; import celery.beat")],
)
def test_processes_without_pages_load_none(settings: str, program: str) -> None:
    """Neither the admin nor the API, which would only cost memory there."""
    loaded = f"import sys, django; django.setup(); {program}; print([name for name in {_HEAVY} if name in sys.modules])"
    variables = {"DJANGO_SETTINGS_MODULE": f"aegis_site.{settings}", "CELERY_SKIP_CHECKS": "1"}
    assert output("-c", loaded, **variables).strip() == "[]"


def test_setting_up_loads_no_pages() -> None:
    """The commands that start or prepare an installation leave the admin's pages, the API and PostgreSQL's client."""
    commands = "from aegis_site.management.commands import create_api_token, demo, prepare, up"
    pages = ("aegis_site.urls", "aegis_site.api_urls", "hosts.admin", "unfold.overrides", "psycopg")
    loaded = f"import sys, django; django.setup(); {commands}; print([name for name in {pages} if name in sys.modules])"
    assert output("-c", loaded, DJANGO_SETTINGS_MODULE="aegis_site.settings_command").strip() == "[]"


def test_setting_up_knows_all_apps() -> None:
    """Their tables are made by it."""
    labels = "import django; django.setup(); from django.apps import apps; print(sorted(apps.app_configs))"
    command, whole = (
        output("-c", labels, DJANGO_SETTINGS_MODULE=f"aegis_site.{name}") for name in ("settings_command", "settings")
    )
    assert command == whole
