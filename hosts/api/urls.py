"""Routes of hosts and workers, below `/api/v1/`."""

from aegis_site.kernel.api import Router
from hosts.api.views import HostViewSet, WorkerViewSet

router = Router()
router.register("hosts", HostViewSet, basename="api-host")
router.register("workers", WorkerViewSet, basename="api-worker")

urlpatterns = router.urls
