"""Django's configuration of this app."""

from django.apps import AppConfig


class LocalCAConfig(AppConfig):
    """The private certificate authority."""

    name = "localca"
    verbose_name = "Local CA"
    default_auto_field = "django.db.models.BigAutoField"
