"""Rotations of client certificates in the HTTP API.

Laws of this module: as in the admin, who may view hosts sees their rotations, and who may change hosts rotates; having
the local CA issue takes the right to issue besides. No answer holds a key.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import exceptions, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from aegis_site.kernel.api import UUID_PATTERN, ApiViewSet, CertificateFactsSerializer, StrictSerializer
from aegis_site.kernel.api_policy import ModelPermissions
from aegis_site.kernel.throttling import ConnectionTestThrottle
from hosts.api.serializers import CERTIFICATES, PRIVATE_KEY, Base64, Text
from hosts.api.upstream_setup import ISSUE_PERMISSION
from hosts.models import Host
from hosts.rotation.judging import Verdict
from hosts.rotation.models import MAX_REASON_CHARACTERS, Rotation, RotationState
from hosts.rotation.selectors import rotations_of
from hosts.rotation.services import cancel, confirm, issue, probe_again, promote_refused, stage
from upstream_tls.changes import UpstreamTLSChanges


class MayRotate(ModelPermissions):
    """Rotations are a part of their host: its permissions count, as on its pages."""

    perms_map = {
        **ModelPermissions.perms_map,
        **{method: ["hosts.view_host"] for method in ("GET", "HEAD", "OPTIONS")},
        "POST": ["hosts.view_host", "hosts.change_host"],
    }


class RotationRequestSerializer(StrictSerializer[Any]):
    """A candidate: a certificate with its key, a PKCS#12 file that brings both, or `issue` for one of the local CA.

    `client_key` may be left out when the certificate is for the key that is in use. A `manual` rotation waits to be
    confirmed before it is promoted.
    """

    is_body_required = True
    document = {
        "anyOf": [{"required": ["client_certificate"]}, {"required": ["client_pkcs12"]}, {"required": ["issue"]}]
    }

    client_certificate = Text(document=CERTIFICATES)
    client_key = Text(write_only=True, document=PRIVATE_KEY)
    client_pkcs12 = Base64(write_only=True, required=False)
    client_key_passphrase = Text(write_only=True)
    issue = serializers.BooleanField(required=False)
    manual = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        has_pkcs12 = bool(attrs.get("client_pkcs12"))
        is_brought = has_pkcs12 or bool(attrs.get("client_certificate", "").strip())
        if attrs.get("issue", False) == is_brought:
            name = "client_pkcs12" if has_pkcs12 else "client_certificate"
            message = "Send either a client_certificate, or a client_pkcs12, or issue: true."
            raise serializers.ValidationError({name: message}, code="one_of_three")
        if attrs.get("client_key_passphrase") and not is_brought:
            message = "A passphrase opens the client_key or client_pkcs12 that is sent with it, and is not stored."
            raise serializers.ValidationError({"client_key_passphrase": message}, code="without_key")
        return attrs


class OverrideSerializer(StrictSerializer[Any]):
    """Why it is promoted although an upstream refuses it."""

    override_reason = serializers.CharField(max_length=MAX_REASON_CHARACTERS)


class RotationAttemptSerializer(serializers.Serializer[Any]):
    """One probe, in short."""

    success = serializers.BooleanField()
    tested_at = serializers.DateTimeField()
    http_status = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    cause = serializers.CharField(allow_blank=True)
    fix = serializers.CharField(allow_blank=True)


class RotationProbeSerializer(serializers.Serializer[Any]):
    """One upstream with what was in use (`now`) and with the candidate (`then`); null when it was not tested."""

    upstream = serializers.UUIDField()
    target = serializers.CharField()
    verdict = serializers.ChoiceField(choices=[str(verdict) for verdict in Verdict])
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    now = RotationAttemptSerializer(allow_null=True)
    then = RotationAttemptSerializer(allow_null=True)


class RotationStepSerializer(serializers.Serializer[Any]):
    """A step. `by` is empty when Aegis took it by itself; `times`: how often it was taken without another between."""

    at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=RotationState.values)
    by = serializers.CharField(allow_blank=True)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    times = serializers.IntegerField()


class RotationSerializer(serializers.ModelSerializer[Rotation]):
    """One rotation. `code` and `message` are those of its last step."""

    url = serializers.SerializerMethodField()
    state = serializers.ChoiceField(choices=RotationState.values)
    manual = serializers.BooleanField(source="is_manual")
    confirmed = serializers.BooleanField(source="is_confirmed")
    candidate = CertificateFactsSerializer(many=True, source="candidate_facts")
    previous = CertificateFactsSerializer(many=True, source="previous_facts")
    probes = RotationProbeSerializer(many=True)
    steps = RotationStepSerializer(many=True)

    class Meta:
        model = Rotation
        fields = [
            *("id", "url", "host", "state", "code", "message", "source", "manual", "confirmed", "override_reason"),
            *("created_at", "probed_at", "promoted_at", "ended_at", "candidate", "previous", "probes", "steps"),
        ]
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, rotation: Rotation) -> str:
        return reverse("api-rotation-detail", args=[rotation.pk], request=self.context.get("request"))


class HostRotationViewSet(ApiViewSet):
    """The rotations of one host."""

    serializer_class = RotationSerializer
    queryset = Rotation.objects.none()
    permission_classes = [MayRotate]
    throttle_classes = [ConnectionTestThrottle]

    def get_throttles(self) -> list[Any]:
        return super().get_throttles() if self.request.method == "POST" else []

    @extend_schema(operation_id="hosts_rotations_list")
    def list(self, request: Request, pk: str) -> Response:
        """The rotations of this host, newest first, a page of them at a time."""
        page = self.paginate_queryset(rotations_of(_host(pk).pk))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="hosts_rotations_create", request=RotationRequestSerializer, responses={201: RotationSerializer}
    )
    def create(self, request: Request, pk: str) -> Response:
        """Stage a candidate. It is probed, promoted and watched from here on; ask for its `state`.

        409 while another rotation of this host is open.
        """
        host = _host(pk)
        serializer = RotationRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        rotation = self._begin(request, host, serializer.validated_data)
        shown = self.get_serializer(rotation).data
        return Response(shown, status=status.HTTP_201_CREATED, headers={"Location": shown["url"]})

    def _begin(self, request: Request, host: Host, wanted: dict[str, Any]) -> Rotation:
        is_manual = wanted.get("manual", False)
        if wanted.get("issue", False):
            if not request.user.has_perm(ISSUE_PERMISSION):
                raise exceptions.PermissionDenied
            return issue(host=host, is_manual=is_manual, user=request.user)
        names = ("client_certificate", "client_key", "client_pkcs12", "client_key_passphrase")
        pair = UpstreamTLSChanges(**{name: wanted[name] for name in names if name in wanted})
        try:
            return stage(host=host, pair=pair, is_manual=is_manual, user=request.user)
        except ValidationError as error:
            # The fields of this body, not those of a host's.
            fields = {name.removeprefix("upstream_tls."): errors for name, errors in error.error_dict.items()}
            raise ValidationError(fields) from error


class RotationViewSet(ApiViewSet):
    """One rotation."""

    serializer_class = RotationSerializer
    queryset = Rotation.objects.without_keys()
    lookup_value_regex = UUID_PATTERN
    permission_classes = [MayRotate]
    throttle_classes = [ConnectionTestThrottle]

    def get_throttles(self) -> "list[Any]":
        return super().get_throttles() if self.request.method == "POST" else []

    def get_queryset(self) -> QuerySet[Rotation]:
        return Rotation.objects.without_keys()

    def retrieve(self, request: Request, pk: str) -> Response:
        """How it stands, with its probes and steps."""
        return self._shown()

    @extend_schema(operation_id="rotations_confirm", request=None, responses={200: RotationSerializer})
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: str) -> Response:
        """Promote what is ready. 409 when it is not; an old probe is repeated first."""
        confirm(rotation=self.get_object(), user=request.user)
        return self._shown()

    @extend_schema(operation_id="rotations_probe", request=None, responses={200: RotationSerializer})
    @action(detail=True, methods=["post"])
    def probe(self, request: Request, pk: str) -> Response:
        """Probe what is refused or ready once more. 409 otherwise."""
        probe_again(rotation=self.get_object(), user=request.user)
        return self._shown()

    @extend_schema(operation_id="rotations_promote", request=OverrideSerializer, responses={200: RotationSerializer})
    @action(detail=True, methods=["post"])
    def promote(self, request: Request, pk: str) -> Response:
        """Promote what an upstream refuses, for a reason that stays in the audit log. 409 when none refuses it."""
        rotation = self.get_object()
        serializer = OverrideSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        promote_refused(rotation=rotation, reason=serializer.validated_data["override_reason"], user=request.user)
        return self._shown()

    @extend_schema(operation_id="rotations_cancel", request=None, responses={200: RotationSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Forget a candidate that is not in use yet, and its key. 409 when it is in use or over."""
        cancel(rotation=self.get_object(), user=request.user)
        return self._shown()

    def _shown(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)


def _host(pk: str) -> Host:
    host: Host = get_object_or_404(Host.objects.only("pk", "name"), pk=pk)
    return host
