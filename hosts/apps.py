"""Django's configuration of this app."""

from django.apps import AppConfig


class HostsConfig(AppConfig):
    """Proxy hosts, their upstreams, and what the workers know of them."""

    name = "hosts"
    verbose_name = "Proxy"
    default_auto_field = "django.db.models.BigAutoField"
