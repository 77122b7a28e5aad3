"""Reverting an entry of the audit log, or all that was changed since a time, in the HTTP API.

Laws of this module: it takes the right to change hosts, and the right to read the log; the rules are those of
`hosts.revert`.
"""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView, StrictSerializer
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.audit.api import ChangeSerializer
from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from hosts.revert import Reversal, return_to, revert


class RevertRequestSerializer(StrictSerializer[Any]):
    """How to revert. `host_version` is that of a dry run: when the host was changed meanwhile, nothing is done."""

    dry_run = serializers.BooleanField(required=False)
    host_version = serializers.DateTimeField(required=False)


class KeptSerializer(serializers.Serializer[Any]):
    """A field that the entry changed and that stays as it is."""

    field = serializers.CharField()
    reason = serializers.CharField()


class RevertSerializer(serializers.Serializer[Any]):
    """What a revert did, or would do. `before` is the value of now.

    With `conflicts`, which are fields that were changed since, it would do nothing.
    """

    host = serializers.UUIDField()
    host_version = serializers.DateTimeField(help_text="Of the host before the revert.")
    dry_run = serializers.BooleanField()
    changes = ChangeSerializer(many=True)
    kept = KeptSerializer(many=True)
    conflicts = serializers.ListField(child=serializers.CharField())


class EntryRevertSerializer(RevertSerializer):
    """What a revert of one entry did, or would do."""

    entry = serializers.IntegerField()


class ReturnRequestSerializer(RevertRequestSerializer):
    """`to`: the time as of which the host is put back."""

    to = serializers.DateTimeField()


class HostRevertView(ApiView):
    """Undo all that was changed of a host since a time."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]

    @extend_schema(operation_id="hosts_revert", request=ReturnRequestSerializer, responses={200: RevertSerializer})
    def post(self, request: Request, pk: str) -> Response:
        """Put a host back as it was at a time, as one ordinary change. With `dry_run` nothing is saved.

        409 when the host, or the log, is younger than that, or when a value was changed by other means since.
        """
        wanted = _wanted(request, ReturnRequestSerializer)
        host = get_object_or_404(Host.objects.only("pk"), pk=pk)
        reversal = return_to(
            host_id=host.pk,
            to=wanted["to"],
            user=request.user,
            version=wanted.get("host_version"),
            is_dry_run=wanted.get("dry_run", False),
        )
        return Response(_shown(reversal, wanted))


class RevertView(ApiView):
    """Undo one change of a host."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]

    @extend_schema(operation_id="audit_revert", request=RevertRequestSerializer, responses={200: EntryRevertSerializer})
    def post(self, request: Request, pk: str) -> Response:
        """Put back what one entry changed of its host, as an ordinary change. With `dry_run` nothing is saved.

        409 when the entry is none of a change of a host, when the host is gone, or when a value was changed since.
        """
        wanted = _wanted(request, RevertRequestSerializer)
        entry = get_object_or_404(AuditEntry, pk=pk)
        reversal = revert(
            entry=entry,
            user=request.user,
            version=wanted.get("host_version"),
            is_dry_run=wanted.get("dry_run", False),
        )
        return Response({"entry": entry.pk, **_shown(reversal, wanted)})


def _wanted(request: Request, serializer_class: type[RevertRequestSerializer]) -> dict[str, Any]:
    if not request.user.has_perm("audit.view_auditentry"):
        raise PermissionDenied
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _shown(reversal: Reversal, wanted: dict[str, Any]) -> dict[str, Any]:
    document = {
        "host": reversal.host.pk,
        "host_version": reversal.version,
        "dry_run": wanted.get("dry_run", False),
        "changes": reversal.plan.changes,
        "kept": reversal.plan.kept,
        "conflicts": reversal.plan.conflicts,
    }
    return dict(RevertSerializer(document).data)
