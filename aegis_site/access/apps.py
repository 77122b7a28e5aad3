"""Registers the app, and keeps the roles right."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccessConfig(AppConfig):
    """Roles, API tokens, sessions, second factors, and limits of login attempts."""

    name = "aegis_site.access"
    verbose_name = "access"

    def ready(self) -> None:
        from aegis_site.access.roles import keep_roles_right  # noqa: PLC0415 (its models need loaded apps)
        from aegis_site.access.session_list import observe  # noqa: PLC0415

        observe()
        post_migrate.connect(keep_roles_right, dispatch_uid="aegis_site.access.roles")
