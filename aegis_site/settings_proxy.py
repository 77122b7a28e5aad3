"""Settings of `manage.py runproxy`: the same, without the admin, DRF and Celery, which would only cost memory there."""

from aegis_site.settings import *  # noqa: F403 (a settings module is its names)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "aegis_site",
    "localca",
    "upstream_tls",
    "hosts",
    "healthchecks",
    "proxyworker",
]
MIDDLEWARE = list[str]()
TEMPLATES = list[dict[str, object]]()
