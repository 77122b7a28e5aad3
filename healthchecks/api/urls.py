"""Routes of health checks, below `/api/v1/`."""

from aegis_site.kernel.api import route
from healthchecks.api.views import HostHealthView
from hosts.api.views import HostViewSet

urlpatterns = [
    route(f"hosts/(?P<pk>{HostViewSet.lookup_value_regex})/health", HostHealthView.as_view(), name="api-host-health"),
]
