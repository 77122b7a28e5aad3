"""Registers the app."""

from django.apps import AppConfig


class SiteSettingsConfig(AppConfig):
    """What an administrator sets for the whole installation."""

    name = "aegis_site.kernel.site_settings"
    verbose_name = "site settings"
