"""Notifications in the HTTP API. Every change goes through `notifications.services`."""

from typing import Any, cast

from django.db.models import QuerySet
from django.http import Http404
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from aegis_site.kernel.api import UUID_PATTERN, ApiViewSet
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.filters import ChoiceFilter, Filters, Ordering, Search
from aegis_site.kernel.notifications.api_serializers import (
    ChannelSerializer,
    ChannelTestSerializer,
    MaintenanceWindowSerializer,
    NotificationDeliverySerializer,
)
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState, MaintenanceWindow
from aegis_site.kernel.notifications.services import (
    delete_channels,
    delete_windows,
    retry_delivery,
    save_channel,
    save_window,
    send_test,
)
from aegis_site.kernel.throttling import ConnectionTestThrottle


class _Notifications(ApiViewSet):
    """What the three have in common: lists with pages, and single ones by their id."""

    lookup_value_regex = UUID_PATTERN

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def _shown(self, key: object) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=key)).data)

    def _created(self, key: object, view_name: str) -> Response:
        response = self._shown(key)
        response.status_code = status.HTTP_201_CREATED
        response.headers["Location"] = reverse(view_name, args=[key], request=self.request)
        return response

    def _values(self, request: Request, *, partial: bool) -> dict[str, Any]:
        serializer = self.get_serializer(data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return cast("dict[str, Any]", serializer.validated_data)


class ChannelViewSet(_Notifications):
    """Who is told, and of what."""

    queryset = Channel.objects.all()
    serializer_class = ChannelSerializer
    filter_backends = [Search, Ordering]
    search_fields = ["name"]
    ordering_fields = ["name", "kind"]
    ordering = ["name"]

    @extend_schema(responses={201: ChannelSerializer})
    def create(self, request: Request) -> Response:
        """A new channel."""
        channel = save_channel(channel=Channel(), values=self._values(request, partial=False), user=request.user)
        return self._created(channel.pk, "api-notification-channel-detail")

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named."""
        values = self._values(request, partial=True)
        try:
            channel = save_channel(channel=self.get_object(), values=values, user=request.user)
        except Channel.DoesNotExist as error:  # it was deleted since
            raise Http404 from error
        return self._shown(channel.pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete the channel with its messages."""
        delete_channels(ids=[self.get_object().pk], user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="notification_channels_test", request=None, responses={200: ChannelTestSerializer})
    @action(detail=True, methods=["post"], permission_classes=[MayChange], throttle_classes=[ConnectionTestThrottle])
    def test(self, request: Request, pk: str) -> Response:
        """Send a test message at once. 200 whenever it was tried, whatever came of it; ten seconds at most."""
        return Response(ChannelTestSerializer(send_test(self.get_object())).data)


class MaintenanceWindowViewSet(_Notifications):
    """When nothing is told."""

    queryset = MaintenanceWindow.objects.prefetch_related("hosts")
    serializer_class = MaintenanceWindowSerializer
    filter_backends = [Search, Ordering]
    search_fields = ["name"]
    ordering_fields = ["begins_at", "ends_at", "name"]
    ordering = ["-begins_at"]

    @extend_schema(responses={201: MaintenanceWindowSerializer})
    def create(self, request: Request) -> Response:
        """A new window."""
        values = self._values(request, partial=False)
        window = save_window(window=MaintenanceWindow(), values=values, user=request.user)
        return self._created(window.pk, "api-maintenance-window-detail")

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named."""
        values = self._values(request, partial=True)
        try:
            window = save_window(window=self.get_object(), values=values, user=request.user)
        except MaintenanceWindow.DoesNotExist as error:  # it was deleted since
            raise Http404 from error
        return self._shown(window.pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete the window: from now on everything is told again."""
        delete_windows(ids=[self.get_object().pk], user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeliveryFilter(FilterSet):
    """What `GET /notification-deliveries` may be narrowed to."""

    state = ChoiceFilter(choices=DeliveryState.choices)

    class Meta:
        model = Delivery
        fields: list[str] = []


class DeliveryViewSet(_Notifications):
    """Messages, and what became of them. Aegis makes them; nobody changes or deletes them."""

    queryset: QuerySet[Delivery] = Delivery.objects.select_related("channel").prefetch_related("events")
    serializer_class = NotificationDeliverySerializer
    filter_backends = [Filters, Ordering]
    filterset_class = DeliveryFilter
    ordering_fields = ["created_at", "due_at"]
    ordering = ["-created_at"]

    @extend_schema(
        operation_id="notification_deliveries_retry", request=None, responses={200: NotificationDeliverySerializer}
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def retry(self, request: Request, pk: str) -> Response:
        """Try a message that was given up again, for another day."""
        try:
            delivery = retry_delivery(delivery=self.get_object(), user=request.user)
        except Delivery.DoesNotExist as error:  # it was forgotten since
            raise Http404 from error
        return self._shown(delivery.pk)
