"""The admin as a Django app. Not in `apps.py`: processes without the admin would load most of it for nothing."""

from django.contrib.admin.apps import AdminConfig


class AegisAdminConfig(AdminConfig):
    """Django's admin with Aegis's site as default.

    What has the admin enqueues work, so there Celery's app becomes the current one, which tasks find their broker by.
    The proxy has neither.
    """

    default_site = "aegis_site.admin_site.AegisAdminSite"

    def ready(self) -> None:
        import aegis_site.celery  # noqa: F401, PLC0415 (current by being made; before the apps it would load too early)

        super().ready()
