"""Routes of health checks, below `/api/v1/`."""

from aegis_site.kernel.api import Router, route
from healthchecks.api.failure_views import FailureViewSet
from healthchecks.api.views import HostHealthHistoryView, HostHealthView
from hosts.api.views import HostViewSet

router = Router()
router.register("failures", FailureViewSet, basename="api-failure")

urlpatterns = [
    *router.urls,
    route(f"hosts/(?P<pk>{HostViewSet.lookup_value_regex})/health", HostHealthView.as_view(), name="api-host-health"),
    route(
        f"hosts/(?P<pk>{HostViewSet.lookup_value_regex})/health/history",
        HostHealthHistoryView.as_view(),
        name="api-host-health-history",
    ),
]
