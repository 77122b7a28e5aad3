"""Registers the app: for the permission that it has, there is no table."""

from django.apps import AppConfig


class LogsConfig(AppConfig):
    """Access and error logs."""

    name = "hosts.logs"
    verbose_name = "logs"
    default_auto_field = "django.db.models.BigAutoField"
