"""A copy of a host in the HTTP API."""

from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView, etag_of
from aegis_site.kernel.serializers import StrictSerializer
from hosts.api.serializers import DomainNames, HostSerializer, Text
from hosts.cloning import MAX_NAME_CHARACTERS, clone_host, free_name
from hosts.models import Host


class CloneSerializer(StrictSerializer[Any]):
    """What is different about the copy. Without a `name` it is "Copy of" the host's.

    `with_secrets` copies the client certificate with its key, and the secret values of header rules. Without it, the
    copy presents no certificate, and those header rules are left out.
    """

    demanded = ("domains",)

    name = Text(document={"minLength": 1, "maxLength": MAX_NAME_CHARACTERS})
    domains = DomainNames(required=False)
    with_secrets = serializers.BooleanField(required=False)


class CloneView(ApiView):
    """A copy of one host."""

    queryset = Host.objects.all()

    @extend_schema(operation_id="hosts_clone", request=CloneSerializer, responses={201: HostSerializer})
    @transaction.atomic
    def post(self, request: Request, pk: str) -> Response:
        """A new, disabled host that is otherwise like this one, without its domains and HTTPS certificate."""
        host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
        serializer = CloneSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        copy = clone_host(
            host=host,
            name=wanted.get("name", free_name(host)),
            domains=wanted.get("domains", ()),
            with_secrets=wanted.get("with_secrets", False),
            user=request.user,
        )
        shown = HostSerializer(
            Host.objects.with_configuration().get(pk=copy.pk), context={"request": request, "view": self}
        ).data
        headers = {"Location": shown["url"], "ETag": etag_of(shown)}
        return Response(shown, status=status.HTTP_201_CREATED, headers=headers)
