"""The project package as a Django app."""

from django.apps import AppConfig


class AegisSiteConfig(AppConfig):
    """Registers the kernel's checks."""

    name = "aegis_site"
    verbose_name = "Aegis"

    def ready(self) -> None:
        import aegis_site.kernel.checks  # noqa: F401, PLC0415 (registers on import, needs loaded apps)
