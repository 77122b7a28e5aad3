"""The upstream's half of a host in the HTTP API: what to install there, and whether it does its part."""

from dataclasses import asdict
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView, CertificateFactsSerializer, StrictSerializer
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.throttling import ConnectionTestThrottle
from hosts.api.results import EnforcementSerializer, UpstreamSetupSerializer
from hosts.api.views import TestsNotRun
from hosts.connection_tests import NotRun, first_upstream, one_upstream
from hosts.enforcement import prove_enforcement
from hosts.models import Host, Upstream
from hosts.snippets import setup_for

ISSUE_PERMISSION = "localca.add_issuedcertificate"


class ProofRequestSerializer(StrictSerializer[Any]):
    """Which upstream to try; nothing means the first enabled one."""

    upstream = serializers.UUIDField(required=False)


class UpstreamSetupView(ApiView):
    """Files and snippets for the operators of a host's upstreams."""

    queryset = Host.objects.all()

    @extend_schema(operation_id="hosts_upstream_setup", responses={200: UpstreamSetupSerializer, 409: None})
    def get(self, request: Request, pk: str) -> Response:
        """Files and snippets for the operators of a host's upstreams. 409 without a client certificate."""
        setup = setup_for(_host(pk))
        if setup is None:
            raise AegisError("client_certificate_missing", "This host has no client certificate to require.")
        return Response(
            {
                "client_certificate_info": CertificateFactsSerializer(setup.facts).data,
                "notes": setup.notes,
                "files": [asdict(file) for file in setup.files],
                "snippets": [asdict(snippet) for snippet in setup.snippets],
            }
        )


class ProveEnforcementView(ApiView):
    """Whether an upstream refuses strangers. 200 whenever the attempts ran, whatever came of them."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]
    throttle_classes = [ConnectionTestThrottle]

    @extend_schema(
        operation_id="hosts_prove_enforcement",
        request=ProofRequestSerializer,
        responses={200: EnforcementSerializer},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Try an upstream with and without the host's certificate. 200 whenever the attempts ran."""
        host = _host(pk)
        serializer = ProofRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        upstream = _upstream(host, serializer.validated_data)
        may_issue = request.user.has_perm(ISSUE_PERMISSION)
        try:
            result = prove_enforcement(host=host, upstream=upstream, user=request.user, may_issue=may_issue)
        except NotRun as error:
            raise TestsNotRun(error.message, code=error.code) from error
        target = {"id": str(upstream.pk), "address": upstream.address, "port": upstream.port}
        return Response({"upstream": target, **asdict(result)})


def _host(pk: str) -> Host:
    host: Host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
    return host


def _upstream(host: Host, document: dict[str, Any]) -> Upstream:
    """Raises NothingToTest when it speaks no TLS."""
    upstreams = list(host.upstreams.all())
    if "upstream" not in document:
        return first_upstream(upstreams)[0]
    for upstream in upstreams:
        if upstream.pk == document["upstream"]:
            return one_upstream(upstream)[0]
    raise exceptions.ValidationError({"upstream": "This host has no such upstream."}, code="unknown_upstream")
