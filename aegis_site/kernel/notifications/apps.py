"""Registers the app."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Who is told what, and what became of it."""

    name = "aegis_site.kernel.notifications"
    verbose_name = "Notifications"
    default_auto_field = "django.db.models.BigAutoField"
