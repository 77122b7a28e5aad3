"""Routes below `/api/v1/`."""

from aegis_site.kernel.api import Router
from aegis_site.kernel.notifications.api_views import ChannelViewSet, DeliveryViewSet, MaintenanceWindowViewSet

router = Router()
router.register("notification-channels", ChannelViewSet, basename="api-notification-channel")
router.register("notification-deliveries", DeliveryViewSet, basename="api-notification-delivery")
router.register("maintenance-windows", MaintenanceWindowViewSet, basename="api-maintenance-window")

urlpatterns = router.urls
