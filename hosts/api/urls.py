"""Routes of hosts and workers, below `/api/v1/`."""

from aegis_site.kernel.api import Router, route
from hosts.api.upstream_setup import ProveEnforcementView, UpstreamSetupView
from hosts.api.views import HostViewSet, WorkerViewSet

router = Router()
router.register("hosts", HostViewSet, basename="api-host")
router.register("workers", WorkerViewSet, basename="api-worker")

_HOST = f"hosts/(?P<pk>{HostViewSet.lookup_value_regex})"

urlpatterns = [
    *router.urls,
    route(f"{_HOST}/upstream-setup", UpstreamSetupView.as_view(), name="api-host-upstream-setup"),
    route(f"{_HOST}/prove-enforcement", ProveEnforcementView.as_view(), name="api-host-prove-enforcement"),
]
