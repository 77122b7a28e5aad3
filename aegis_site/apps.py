"""The project package as a Django app, and the admin site's configuration."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class AegisSiteConfig(AppConfig):
    """Registers the kernel's checks. In processes that enqueue work it also makes the Celery app the current one."""

    default = True  # of the two configurations in this module, the one that "aegis_site" means
    name = "aegis_site"
    verbose_name = "Aegis"

    def ready(self) -> None:
        import aegis_site.kernel.checks  # noqa: F401, PLC0415 (registers on import, needs loaded apps)


class AegisAdminConfig(admin_apps.AdminConfig):
    """Django's admin with Aegis's site as default."""

    default = False
    default_site = "aegis_site.admin_site.AegisAdminSite"
