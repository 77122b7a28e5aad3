"""Routes below `/api/v1/`."""

from aegis_site.kernel.api import route
from aegis_site.kernel.site_settings.api_views import SettingsView, TestEmailView

urlpatterns = [
    route("settings", SettingsView.as_view(), name="api-settings"),
    route("settings/test-email", TestEmailView.as_view(), name="api-settings-test-email"),
]
