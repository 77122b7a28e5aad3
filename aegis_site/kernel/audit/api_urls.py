"""Routes below `/api/v1/`."""

from aegis_site.kernel.api import Router
from aegis_site.kernel.audit.api import AuditViewSet

router = Router()
router.register("audit", AuditViewSet, basename="api-audit")

urlpatterns = router.urls
