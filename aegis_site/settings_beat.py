"""Settings of the Celery scheduler: it knows tasks by name only, so it loads no app and takes a third less memory."""

from aegis_site.settings import *  # noqa: F403 (a settings module is its names)

INSTALLED_APPS = []
