"""Settings of the commands that set up an installation: the same apps and tables, whose pages are not loaded.

The admin stays installed, because it has a table, but nobody looks for what is registered there: that would load all
pages and the API, more than half a second of every start. What enqueues tasks must not run with these settings:
Celery's app comes with the admin's pages.
"""

from aegis_site.settings import *  # noqa: F403 (a settings module is its names)
from aegis_site.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig" if app == "aegis_site.admin_config.AegisAdminConfig" else app
    for app in _APPS
]
