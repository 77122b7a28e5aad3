"""Hosts and workers in the HTTP API. Every change goes through `hosts.services`."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import exceptions, mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import UUID_PATTERN, ApiViewSet, etag_of
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.audit.recording import Recording, one_entry_each
from aegis_site.kernel.filters import Filters, Ordering, Search
from aegis_site.kernel.throttling import ConnectionTestThrottle
from hosts.api.filters import HostFilter, WorkerFilter
from hosts.api.results import ConnectionTestResultSerializer, ConnectionTestResultsSerializer
from hosts.api.serializers import ConnectionTestRequestSerializer, HostSerializer, WorkerSerializer, spec_of
from hosts.audit import HOSTS, described
from hosts.connection_tests import (
    NotRun,
    all_upstreams,
    candidate_configuration,
    first_upstream,
    one_upstream,
    request_tests,
    results_of,
    wait_for,
)
from hosts.models import Host, ProxyWorker, Upstream
from hosts.selectors import latest_generation
from hosts.services import create_host, delete_host, update_host
from hosts.specs import HostSpec


class TestsNotRun(exceptions.APIException):
    """The Celery worker has no answer."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE


class HostViewSet(ApiViewSet):
    """Proxy hosts with their upstreams and upstream TLS."""

    serializer_class = HostSerializer
    lookup_value_regex = UUID_PATTERN
    filter_backends = [Filters, Search, Ordering]
    filterset_class = HostFilter
    search_fields = ["name", "domains__name", "upstreams__address"]
    ordering_fields = ["name", "enabled", "created_at", "updated_at"]
    ordering = ["name"]

    def get_queryset(self) -> QuerySet[Host]:
        return Host.objects.with_configuration()

    def list(self, request: Request) -> Response:
        """The hosts, a page of them at a time."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        """One host with all that is configured of it, but keys."""
        return self._shown(self.get_object())

    def create(self, request: Request) -> Response:
        """A new host. What is left out has its default."""
        spec = self._spec(request, is_whole=True)
        with transaction.atomic(), one_entry_each(user=request.user) as recording:
            host = self._stored(create_host(spec=spec, user=request.user), recording)
        response = self._shown(host, status=status.HTTP_201_CREATED)
        response["Location"], response["ETag"] = response.data["url"], etag_of(response.data)
        return response

    def update(self, request: Request, pk: str) -> Response:
        """Replace all but a client key that is left out."""
        return self._update(request, is_whole=True)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named; `domains` and `upstreams` are whole lists."""
        return self._update(request, is_whole=False)

    @transaction.atomic
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a host with all that belongs to it; the workers forget it."""
        self.lock_for_change()
        delete_host(host=self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="hosts_test_upstream_tls",
        request=ConnectionTestRequestSerializer,
        responses={
            200: PolymorphicProxySerializer(
                component_name="ConnectionTest",
                serializers=[ConnectionTestResultSerializer, ConnectionTestResultsSerializer],
                resource_type_field_name=None,
            )
        },
    )
    @action(
        detail=True,
        methods=["post"],
        url_path="test-upstream-tls",
        permission_classes=[MayChange],
        throttle_classes=[ConnectionTestThrottle],
    )
    def test_upstream_tls(self, request: Request, pk: str) -> Response:
        """Test the TLS handshake with upstreams of this host, as saved or with changes that are not. Saves nothing.

        200 whenever the test ran, whatever came of it; the answer takes eight seconds at most.
        """
        host = self.get_object()
        serializer = ConnectionTestRequestSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        document = serializer.validated_data
        # Fails before anything is looked up, so that a caller fixes values first.
        changes = spec_of({"upstream_tls": document.get("upstream_tls", {})}, is_whole=False).upstream_tls
        configuration = candidate_configuration(host, changes)
        batch = request_tests(
            host=host,
            domains=[domain.name for domain in host.domains.all()],
            upstreams=_upstreams_to_test(host, document),
            configuration=configuration,
            user=request.user,
        )
        try:
            results = results_of(wait_for(batch))
        except NotRun as error:
            raise TestsNotRun(error.message, code=error.code) from error
        return Response({"results": results} if document.get("all") else results[0])

    @transaction.atomic
    def _update(self, request: Request, *, is_whole: bool) -> Response:
        # Only that: the service locks it, and then reads it.
        host: Host = get_object_or_404(Host.objects.only("pk"), pk=self.kwargs["pk"])
        spec = self._spec(request, is_whole=is_whole)
        try:
            with one_entry_each(user=request.user) as recording:
                stored = self._stored(update_host(host=host, spec=spec, user=request.user), recording)
        except Host.DoesNotExist as error:  # it was deleted since
            raise Http404 from error
        return self._shown(stored)

    def _stored(self, host: Host, recording: Recording) -> Host:
        """The host as it is stored now, which is read once for the answer and the audit log."""
        stored: Host = self.get_queryset().get(pk=host.pk)
        recording.found_after(HOSTS, stored.pk, described(stored))
        return stored

    def _spec(self, request: Request, *, is_whole: bool) -> HostSpec:
        serializer = self.get_serializer(data=request.data, partial=not is_whole)
        serializer.is_valid(raise_exception=True)
        spec = spec_of(serializer.validated_data, is_whole=is_whole)
        if spec.downstream_tls.issue is True and not request.user.has_perm("localca.add_issuedcertificate"):
            raise exceptions.PermissionDenied
        return spec

    def _shown(self, host: Host, **options: Any) -> Response:
        return Response(self.get_serializer(host).data, **options)


class WorkerViewSet(mixins.ListModelMixin, ApiViewSet):
    """The proxy workers, and what each of them serves."""

    serializer_class = WorkerSerializer
    queryset = ProxyWorker.objects.all()
    filter_backends = [Filters, Search, Ordering]
    filterset_class = WorkerFilter
    search_fields = ["worker_id"]
    ordering_fields = ["worker_id", "generation", "last_seen_at"]
    ordering = ["worker_id"]

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "latest_generation": latest_generation()}


def _upstreams_to_test(host: Host, document: dict[str, Any]) -> list[Upstream]:
    upstreams = list(host.upstreams.all())
    if document.get("all"):
        return all_upstreams(upstreams)
    if "upstream" not in document:
        return first_upstream(upstreams)
    for upstream in upstreams:
        if upstream.pk == document["upstream"]:
            return one_upstream(upstream)
    raise exceptions.ValidationError({"upstream": "This host has no such upstream."}, code="unknown_upstream")
