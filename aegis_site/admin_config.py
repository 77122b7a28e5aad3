"""The admin as a Django app. Not in `apps.py`: processes without the admin would load most of it for nothing."""

from django.contrib.admin.apps import AdminConfig


class AegisAdminConfig(AdminConfig):
    """Django's admin with Aegis's site as default."""

    default_site = "aegis_site.admin_site.AegisAdminSite"
