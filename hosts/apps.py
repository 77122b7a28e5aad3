"""Django's configuration of this app."""

from django.apps import AppConfig


class HostsConfig(AppConfig):
    """Proxy hosts, their upstreams, and what the workers know of them."""

    name = "hosts"
    verbose_name = "Proxy"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported from here on.
        from hosts.authority_readiness import hosts_presenting  # noqa: PLC0415
        from localca.retirement import register_finder  # noqa: PLC0415

        register_finder(hosts_presenting)
