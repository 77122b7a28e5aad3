"""Django's configuration of this app."""

from django.apps import AppConfig


class UpstreamTLSConfig(AppConfig):
    """TLS towards the upstreams of each host."""

    name = "upstream_tls"
    verbose_name = "Upstream TLS"
    default_auto_field = "django.db.models.BigAutoField"
