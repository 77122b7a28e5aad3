"""Registers the app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who changed what, before and after."""

    name = "aegis_site.kernel.audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        from aegis_site.kernel.audit.accounts import observe  # noqa: PLC0415 (models are not loaded before)

        observe()
