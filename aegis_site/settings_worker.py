"""Settings of the Celery worker of `manage.py up`: the proxy's, and the apps whose sweeps it runs beside theirs."""

from aegis_site.settings_proxy import *  # noqa: F403 (a settings module is its names)
from aegis_site.settings_proxy import INSTALLED_APPS as _APPS

INSTALLED_APPS = [
    *_APPS,
    "knox",
    "aegis_site.kernel.audit",
    "aegis_site.kernel.idempotency",
    "aegis_site.kernel.site_settings",
    "aegis_site.kernel.notifications",
    "aegis_site.access",
]
