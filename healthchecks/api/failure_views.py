"""The failure inbox in the HTTP API."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiViewSet
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.filters import Filters, Ordering, Search
from healthchecks.api.failure_filters import FailureFilter
from healthchecks.api.failure_serializers import (
    FailureSerializer,
    FailureWithChangesSerializer,
    MuteRequestSerializer,
)
from healthchecks.failures.models import FailureGroup
from healthchecks.failures.selectors import changes_before, failure_groups
from healthchecks.failures.standing import MUTED_FOR, acknowledge, mute, resolve


class FailureViewSet(mixins.ListModelMixin, ApiViewSet):
    """What fails at upstreams, from traffic, checks and tests, by host, upstream and cause."""

    serializer_class = FailureSerializer
    queryset = FailureGroup.objects.none()
    # At most what the database can hold as an id.
    lookup_value_regex = "[0-9]{1,18}"
    filter_backends = [Filters, Search, Ordering]
    filterset_class = FailureFilter
    search_fields = ["host__name", "upstream__address", "code", "message"]
    ordering_fields = ["last_seen", "first_seen", "total", "code", "state"]
    ordering = ["-last_seen", "-id"]

    def get_queryset(self) -> QuerySet[FailureGroup]:
        return failure_groups()

    @extend_schema(responses={200: FailureWithChangesSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """One group, with what was changed shortly before it opened."""
        return self._shown(request)

    @extend_schema(request=None, responses={200: FailureWithChangesSerializer})
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that it is known. Nothing happens to one that is acknowledged or resolved."""
        acknowledge(groups=[self.get_object()], user=request.user, now=timezone.now())
        return self._shown(request)

    @extend_schema(request=None, responses={200: FailureWithChangesSerializer})
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def resolve(self, request: Request, pk: str) -> Response:
        """Say that it is over. Seen again, it opens again."""
        resolve(groups=[self.get_object()], user=request.user, now=timezone.now())
        return self._shown(request)

    @extend_schema(request=MuteRequestSerializer, responses={200: FailureWithChangesSerializer})
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def mute(self, request: Request, pk: str) -> Response:
        """Leave it out of the count of open ones, and tell nobody of it, until then."""
        group = self.get_object()
        serializer = MuteRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        until = serializer.validated_data.get("until", timezone.now() + MUTED_FOR)
        mute(groups=[group], until=until, user=request.user)
        return self._shown(request)

    @extend_schema(request=None, responses={200: FailureWithChangesSerializer})
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def unmute(self, request: Request, pk: str) -> Response:
        """Count it and tell of it again. Nothing happens to one that is not muted."""
        mute(groups=[self.get_object()], until=None, user=request.user)
        return self._shown(request)

    def _shown(self, request: Request) -> Response:
        group: FailureGroup = self.get_object()
        may_see = request.user.has_perm("audit.view_auditentry")
        context: dict[str, Any] = {
            **self.get_serializer_context(),
            "changes_before": changes_before(group) if may_see else None,
        }
        return Response(FailureWithChangesSerializer(group, context=context).data)
