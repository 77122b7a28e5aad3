"""Where everything is: the admin, the API, and the health endpoints."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from aegis_site.api_urls import RootView
from aegis_site.readiness import healthz, readyz

handler400 = "aegis_site.error_pages.bad_request"
handler500 = "aegis_site.error_pages.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1", RootView.as_view()),
    path("api/v1/", include("aegis_site.api_urls")),
    path("healthz", healthz),
    path("readyz", readyz),
]
