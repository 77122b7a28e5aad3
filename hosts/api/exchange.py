"""`/hosts/export` and `/hosts/import`.

Laws of this module: a passphrase comes in a body, so that it stands in no URL, log or history of a shell; answers that
hold sealed secrets are not to be stored on their way. What an import does is decided in `hosts.exchange`.
"""

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.api_policy import ModelPermissions
from aegis_site.kernel.audit.origin import Source, current_source, source
from aegis_site.kernel.negotiation import FormatNegotiation
from aegis_site.kernel.problems import problem_handler
from hosts.api.exchange_formats import (
    DocumentParser,
    JSONDocumentRenderer,
    ProgressRenderer,
    YAMLDocumentParser,
    YAMLDocumentRenderer,
)
from hosts.api.exchange_serializers import ImportOptionsSerializer, ImportResultSerializer, PassphraseSerializer
from hosts.api.views import HostViewSet
from hosts.exchange.documents import export_document
from hosts.exchange.envelope import Envelope, ExportedHostsSerializer, HostsToImportSerializer, open_envelope
from hosts.exchange.exporting import EXPORT_SECRETS, export_sealed
from hosts.exchange.importing import ImportOptions, ImportResult, OnMissing, Outcome, finish, import_hosts
from hosts.models import Host

# How many ids fit into a URL that every proxy lets through, and more.
MAX_IDS = 1000

# A line for every so many hosts.
_PROGRESS_STEP = 10


class MayExport(ModelPermissions):
    """Looking is enough for an export, but not for one with secrets."""

    perms_map = {**ModelPermissions.perms_map, "POST": ["hosts.view_host", EXPORT_SECRETS]}


class MayImport(ModelPermissions):
    """An import may create and change hosts; whether it may delete some is asked when it is to."""

    perms_map = {**ModelPermissions.perms_map, "POST": ["hosts.view_host", "hosts.add_host", "hosts.change_host"]}


_EXPORT_PARAMETERS = [
    OpenApiParameter("id", OpenApiTypes.UUID, many=True, description="Only these hosts."),
    OpenApiParameter("format", str, enum=["json", "yaml"], description="Overrides Accept; json unless asked for."),
]
_DOCUMENT = {
    (200, "application/json"): ExportedHostsSerializer,
    (200, "application/yaml"): ExportedHostsSerializer,
}


class HostExportViewSet(HostViewSet):
    """Hosts as one document, chosen as in their list."""

    permission_classes = [MayExport]
    content_negotiation_class = FormatNegotiation
    renderer_classes = [JSONDocumentRenderer, YAMLDocumentRenderer]
    pagination_class = None

    @extend_schema(operation_id="hosts_export", parameters=_EXPORT_PARAMETERS, responses=_DOCUMENT, filters=True)
    def export(self, request: Request) -> Response:
        """Hosts as one document. Secrets are left out; `client_key_set` and the like say that there is one."""
        return self._answer(export_document(self._chosen(request)))

    @extend_schema(
        operation_id="hosts_export_sealed",
        parameters=_EXPORT_PARAMETERS,
        request=PassphraseSerializer,
        responses=_DOCUMENT,
        filters=True,
    )
    @transaction.atomic
    def export_sealed(self, request: Request) -> Response:
        """Hosts as one document, their secrets sealed to a passphrase. Noted in the audit log."""
        serializer = PassphraseSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passphrase = serializer.validated_data["passphrase"]
        response = self._answer(export_sealed(list(self._chosen(request)), passphrase=passphrase, user=request.user))
        response["Cache-Control"] = "no-store"
        return response

    def _chosen(self, request: Request) -> QuerySet[Host]:
        hosts: QuerySet[Host] = self.filter_queryset(self.get_queryset())
        if "id" in request.query_params:
            field = serializers.ListField(child=serializers.UUIDField(), max_length=MAX_IDS)
            try:
                hosts = hosts.filter(pk__in=field.run_validation(request.query_params.getlist("id")))
            except exceptions.ValidationError as error:
                raise exceptions.ValidationError({"id": error.detail}) from error
        return hosts

    def _answer(self, document: dict[str, Any]) -> Response:
        extension = self.request.accepted_renderer.format
        return Response(document, headers={"Content-Disposition": f'attachment; filename="aegis-hosts.{extension}"'})


class ProgressResponse(StreamingHttpResponse):
    """Lines of progress. The answer begins before it is known what comes of the work: `final_status` says it then."""

    final_status: int = status.HTTP_500_INTERNAL_SERVER_ERROR


class HostImportView(ApiView):
    """Makes the hosts of this installation those of a document."""

    queryset = Host.objects.none()  # for the permissions
    permission_classes = [MayImport]
    parser_classes = [DocumentParser, YAMLDocumentParser]
    renderer_classes = [JSONRenderer, ProgressRenderer]

    @extend_schema(
        operation_id="hosts_import",
        parameters=[ImportOptionsSerializer],
        request={"application/json": HostsToImportSerializer, "application/yaml": HostsToImportSerializer},
        responses={
            (200, "application/json"): ImportResultSerializer,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
        },
    )
    def post(self, request: Request) -> Response | StreamingHttpResponse:
        """Create and change hosts, all of them or none; with `dry_run` only say what would change.

        A host is found by its `id`, else by its name. A secret that is left out is kept.
        """
        options = _options(request)
        envelope = open_envelope(request.data)
        if request.accepted_renderer.format == ProgressRenderer.format:
            response = ProgressResponse(content_type=ProgressRenderer.media_type)
            response.streaming_content = _lines(request, envelope, options, current_source(), response)
            return response
        return Response(shown_result(finish(_started(request, envelope, options))))


def shown_result(result: ImportResult) -> dict[str, Any]:
    """A result as a client is shown it."""
    counts = {str(outcome): result.count(outcome) for outcome in Outcome}
    return {"dry_run": result.is_dry_run, **counts, "hosts": [asdict(host) for host in result.hosts]}


def _started(request: Request, envelope: Envelope, options: ImportOptions) -> Generator[int, None, ImportResult]:
    return import_hosts(envelope.entries, sealer=envelope.sealer, options=options, user=request.user)


def _lines(
    request: Request, envelope: Envelope, options: ImportOptions, origin: Source, response: ProgressResponse
) -> Iterator[bytes]:
    """Progress, and as the last line the result or a problem document.

    A client that goes away ends the iteration, and with it the transaction.
    """
    total = len(envelope.entries)
    with closing(_started(request, envelope, options)) as running:
        while True:
            try:
                # The view has returned; who asked is still to be known.
                with source(origin.origin, client_address=origin.client_address):
                    done = next(running)
            except StopIteration as end:
                response.final_status = status.HTTP_200_OK
                yield _line({"done": total, "total": total, "result": shown_result(end.value)})
                return
            except Exception as error:  # noqa: BLE001 (the answer has begun: what the view would answer, a line has to)
                problem = problem_handler(error, {"request": request})
                response.final_status = problem.status_code
                yield _line(problem.data)
                return
            if done % _PROGRESS_STEP == 0 and done < total:
                yield _line({"done": done, "total": total})


def _line(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, default=str).encode() + b"\n"


def _options(request: Request) -> ImportOptions:
    query = ImportOptionsSerializer.values_of(request)
    on_missing = OnMissing(query["on_missing"])
    if on_missing is OnMissing.DELETE and not request.user.has_perm("hosts.delete_host"):
        raise exceptions.PermissionDenied
    return ImportOptions(
        is_dry_run=query["dry_run"],
        on_missing=on_missing,
        delete_count=query.get("delete_count"),
        may_issue=request.user.has_perm("localca.add_issuedcertificate"),
    )
