"""The site settings in the HTTP API."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.site_settings.api_serializers import (
    DeliverySerializer,
    SettingsSerializer,
    TestEmailRequestSerializer,
)
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import (
    apply_values,
    by_path,
    change_settings,
    current_settings,
    locked_settings,
    send_test_mail,
)
from aegis_site.kernel.throttling import ConnectionTestThrottle


class SettingsView(ApiView):
    """The settings of this installation."""

    queryset = SiteSettings.objects.all()

    def lock_for_change(self) -> None:
        locked_settings()

    @extend_schema(operation_id="settings_retrieve", responses={200: SettingsSerializer})
    def get(self, request: Request) -> Response:
        """All settings; of the password, whether there is one."""
        return _shown(current_settings())

    @extend_schema(
        operation_id="settings_partial_update", request=SettingsSerializer, responses={200: SettingsSerializer}
    )
    @transaction.atomic
    def patch(self, request: Request) -> Response:
        """Change what is named, at every level."""
        values = _values(SettingsSerializer(data=request.data, partial=True))
        try:
            return _shown(change_settings(values=values, user=request.user))
        except ValidationError as error:
            raise by_path(error) from error


class TestEmailView(ApiView):
    """A mail that shows whether mail arrives."""

    queryset = SiteSettings.objects.all()
    # It goes out in the installation's name and with its password.
    permission_classes = [MayChange]
    throttle_classes = [ConnectionTestThrottle]

    @extend_schema(
        operation_id="settings_test_email", request=TestEmailRequestSerializer, responses={200: DeliverySerializer}
    )
    def post(self, request: Request) -> Response:
        """Send a mail by the settings as saved, or with changes that are not. Saves nothing.

        200 whenever it was tried, whatever came of it; the answer takes ten seconds at most.
        """
        values = _values(TestEmailRequestSerializer(data=request.data))
        to = values.pop("to")
        settings = current_settings()
        try:
            apply_values(settings, values)
            delivery = send_test_mail(settings, to=to)
        except ValidationError as error:
            raise by_path(error) from error
        return Response(DeliverySerializer(delivery).data)


def _values(serializer: SettingsSerializer | TestEmailRequestSerializer) -> dict[str, Any]:
    """What was sent, by column."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _shown(settings: SiteSettings) -> Response:
    return Response(SettingsSerializer(settings).data)
