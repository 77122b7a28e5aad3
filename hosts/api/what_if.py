"""What would break, in the HTTP API. Nothing here changes anything."""

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView, StrictSerializer
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.throttling import ConnectionTestThrottle
from hosts.api.serializers import CERTIFICATES, PRIVATE_KEY, TLS_VERSION, Text
from hosts.api.views import TestsNotRun
from hosts.connection_tests import NotRun
from hosts.field_errors import FieldErrors
from hosts.models import Host
from hosts.what_if import HostOutcome, UpstreamOutcome, Verdict, WhatIf, what_if
from hosts.what_if_changes import Change, Kind, planned
from upstream_tls.changes import UpstreamTLSChanges

MAX_NAMED_HOSTS = 1000
VERDICTS = [str(verdict) for verdict in Verdict]

# Where a value stands that a change cannot have.
_PATHS = {
    Kind.REMOVE_CA_CERTIFICATE: "change.remove_ca_certificate.fingerprint_sha256",
    Kind.CA_CERTIFICATE: "change",
    Kind.MIN_VERSION: "change",
    Kind.REPLACE_CERTIFICATE: "change.replace_certificate",
    Kind.REVOKE_CERTIFICATE: "change.revoke_certificate.serial_number",
}


class WhatIfRemovalSerializer(StrictSerializer[Any]):
    """A certificate in the CA bundles of hosts."""

    fingerprint_sha256 = serializers.CharField(max_length=200)


class WhatIfReplacementSerializer(StrictSerializer[Any]):
    """A new client certificate for one host, or for all that present the certificate of this fingerprint."""

    fingerprint_sha256 = serializers.CharField(max_length=200, required=False)
    host = serializers.UUIDField(required=False)
    client_certificate = Text(document=CERTIFICATES)
    client_key = Text(write_only=True, document=PRIVATE_KEY)
    passphrase = Text(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("fingerprint_sha256" in attrs) == ("host" in attrs):
            raise serializers.ValidationError("Name either a fingerprint_sha256 or a host.", code="one_of_two")
        return attrs


class WhatIfRevocationSerializer(StrictSerializer[Any]):
    """A certificate that the local CA issued."""

    serial_number = serializers.CharField(max_length=200)


class WhatIfChangeSerializer(StrictSerializer[Any]):
    """Exactly one change."""

    document = {"minProperties": 1, "maxProperties": 1}

    remove_ca_certificate = WhatIfRemovalSerializer(required=False)
    ca_certificate = Text(document=CERTIFICATES)
    min_version = Text(document=TLS_VERSION)
    replace_certificate = WhatIfReplacementSerializer(required=False)
    revoke_certificate = WhatIfRevocationSerializer(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError(f"Name exactly one of {', '.join(Kind)}.", code="one_change")
        return attrs


class WhatIfRequestSerializer(StrictSerializer[Any]):
    """A change, and the hosts to try it on; without `hosts`, all that it concerns."""

    change = WhatIfChangeSerializer()
    hosts = serializers.ListField(
        child=serializers.UUIDField(), required=False, min_length=1, max_length=MAX_NAMED_HOSTS
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "hosts" in attrs and "host" in attrs["change"].get(Kind.REPLACE_CERTIFICATE, {}):
            message = "The change names its host already."
            raise serializers.ValidationError({"hosts": message}, code="host_and_hosts")
        return attrs


class WhatIfAttemptSerializer(serializers.Serializer[Any]):
    """One connection test, in short. `error`'s members are those of a connection test."""

    success = serializers.BooleanField()
    verified = serializers.BooleanField()
    tested_at = serializers.DateTimeField()
    tls_version = serializers.CharField(allow_null=True)
    cipher = serializers.CharField(allow_null=True)
    http_status = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    cause = serializers.CharField(allow_blank=True)
    fix = serializers.CharField(allow_blank=True)
    field = serializers.CharField(allow_blank=True)


class WhatIfUpstreamSerializer(serializers.Serializer[Any]):
    """One upstream: `now` as saved, `then` with the change; null when it was not tested, `code` says why."""

    id = serializers.UUIDField()
    address = serializers.CharField()
    port = serializers.IntegerField()
    verdict = serializers.ChoiceField(choices=VERDICTS)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    now = WhatIfAttemptSerializer(allow_null=True)
    then = WhatIfAttemptSerializer(allow_null=True)


class WhatIfHostSerializer(serializers.Serializer[Any]):
    """One host; its verdict is the worst of its upstreams'."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    url = serializers.CharField()
    enabled = serializers.BooleanField()
    verdict = serializers.ChoiceField(choices=VERDICTS)
    note = serializers.CharField(allow_blank=True)
    upstreams = WhatIfUpstreamSerializer(many=True)


class WhatIfSerializer(serializers.Serializer[Any]):
    """The answer, what breaks first. `tested` is false when this kind of change cannot be tried."""

    kind = serializers.ChoiceField(choices=[str(kind) for kind in Kind])
    tested = serializers.BooleanField()
    is_complete = serializers.BooleanField()
    duration_ms = serializers.IntegerField()
    breaks = serializers.IntegerField()
    not_tested = serializers.IntegerField()
    already_failing = serializers.IntegerField()
    works = serializers.IntegerField()
    hosts = WhatIfHostSerializer(many=True)


class WhatIfView(ApiView):
    """Which hosts would break. 200 whenever the question could be asked, whatever came of it."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]
    throttle_classes = [ConnectionTestThrottle]

    @extend_schema(operation_id="what_if", request=WhatIfRequestSerializer, responses={200: WhatIfSerializer})
    def post(self, request: Request) -> Response:
        """Try a change on the real upstreams of the hosts it concerns. Saves nothing; answers within 30 s."""
        serializer = WhatIfRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        document = serializer.validated_data
        ((name, value),) = document["change"].items()
        kind, host_ids = Kind(name), document.get("hosts")
        _check_hosts(document)
        errors = FieldErrors()
        answer: WhatIf | None = None
        try:
            with errors.under(_PATHS[kind]):
                answer = what_if(change=_change(kind, value, host_ids), user=request.user)
        except NotRun as error:
            raise TestsNotRun(error.message, code=error.code) from error
        errors.raise_if_any()
        return Response(None if answer is None else document_of(answer, request))


def document_of(answer: WhatIf, request: Request) -> dict[str, Any]:
    """The answer as the API gives it."""
    return {
        "kind": str(answer.change.kind),
        "tested": answer.change.is_testable,
        "is_complete": answer.is_complete,
        "duration_ms": answer.duration_ms,
        **{str(verdict): answer.count(verdict) for verdict in Verdict},
        "hosts": [_host_document(outcome, request) for outcome in answer.hosts],
    }


def _change(kind: Kind, value: Any, host_ids: list[uuid.UUID] | None) -> Change:
    match kind:
        case Kind.REMOVE_CA_CERTIFICATE:
            return planned(kind, certificate=value["fingerprint_sha256"], host_ids=host_ids)
        case Kind.CA_CERTIFICATE:
            return planned(kind, settings=UpstreamTLSChanges(ca_certificate=value), host_ids=host_ids)
        case Kind.MIN_VERSION:
            return planned(kind, settings=UpstreamTLSChanges(min_version=value), host_ids=host_ids)
        case Kind.REVOKE_CERTIFICATE:
            return planned(kind, certificate=value["serial_number"], host_ids=host_ids)
    settings = UpstreamTLSChanges(
        enabled=True,
        client_certificate=value.get("client_certificate", ""),
        client_key=value.get("client_key", ""),
        client_key_passphrase=value.get("passphrase", ""),
    )
    fingerprint = value.get("fingerprint_sha256", "")
    return planned(
        kind, certificate=fingerprint, settings=settings, host_ids=[value["host"]] if "host" in value else host_ids
    )


def _check_hosts(document: dict[str, Any]) -> None:
    """Raises ValidationError for hosts that do not exist. One query."""
    named = {f"hosts[{index}]": host_id for index, host_id in enumerate(document.get("hosts", ()))}
    if host_id := document["change"].get(Kind.REPLACE_CERTIFICATE, {}).get("host"):
        named["change.replace_certificate.host"] = host_id
    known = set(Host.objects.filter(pk__in=named.values()).values_list("pk", flat=True))
    if unknown := [path for path, host_id in named.items() if host_id not in known]:
        raise ValidationError(
            {path: ValidationError("There is no such host.", code="unknown_host") for path in unknown}
        )


def _host_document(outcome: HostOutcome, request: Request) -> dict[str, Any]:
    return {
        "id": str(outcome.host.pk),
        "name": outcome.host.name,
        "url": request.build_absolute_uri(reverse("api-host-detail", args=[outcome.host.pk])),
        "enabled": outcome.host.enabled,
        "verdict": str(outcome.verdict),
        "note": outcome.note,
        "upstreams": [_upstream_document(upstream) for upstream in outcome.upstreams],
    }


def _upstream_document(outcome: UpstreamOutcome) -> dict[str, Any]:
    return {
        "id": str(outcome.upstream.pk),
        "address": outcome.upstream.address,
        "port": outcome.upstream.port,
        "verdict": str(outcome.verdict),
        "code": outcome.code,
        "message": outcome.message,
        "now": _attempt_document(outcome.now),
        "then": _attempt_document(outcome.then),
    }


def _attempt_document(test: dict[str, Any] | None) -> dict[str, Any] | None:
    if test is None:
        return None
    tls, error = test["tls"] or {}, test["error"] or {}
    return {
        "success": test["success"],
        "verified": test["verified"],
        "tested_at": test["tested_at"],
        "tls_version": tls.get("version"),
        "cipher": tls.get("cipher"),
        "http_status": test["http"]["status"] if test["http"] else None,
        **{name: error.get(name) or "" for name in ("code", "message", "cause", "fix", "field")},
    }
