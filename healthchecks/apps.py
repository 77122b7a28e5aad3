"""Django's configuration of this app."""

from django.apps import AppConfig


class HealthChecksConfig(AppConfig):
    """Active checks of upstreams."""

    name = "healthchecks"
    verbose_name = "Health checks"
    default_auto_field = "django.db.models.BigAutoField"
