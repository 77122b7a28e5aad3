"""Client certificates of a host in the HTTP API: issue and install in one step, or a request that another CA signs.

Laws of this module: who may change hosts may do all of it but issue, which takes that permission besides. No answer has
a private key.
"""

import uuid
from typing import Any

from django.db import transaction
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from aegis_site.kernel.api import ApiView, StrictSerializer
from aegis_site.kernel.api_policy import MayChange
from hosts.api.serializers import CERTIFICATES, HostSerializer, Text
from hosts.certificate_requests import (
    default_common_name,
    delete_certificate_request,
    install_signed_certificate,
    request_certificate,
    rotate_to_signed_certificate,
)
from hosts.models import Host
from hosts.rotation.models import Rotation
from hosts.rotation.selectors import open_rotation
from hosts.services import install_issued_certificate
from localca.keys import KeyType
from localca.orders import VALIDITY_DAYS_MAX
from localca.validators import COMMON_NAME_MAX_CHARACTERS, SUBJECT_ALT_NAMES_MAX
from upstream_tls.certificate_requests import ORGANIZATION_MAX_CHARACTERS, Wish
from upstream_tls.models import CertificateRequest
from upstream_tls.tls.pem import MAX_PEM_BYTES

ISSUE_PERMISSION = "localca.add_issuedcertificate"

_NAME_MAX_CHARACTERS = 2100  # a URI of the longest kind, with its prefix


class MayChangeHost(MayChange):
    """What changes a part of a host asks for what a change of the host does."""

    perms_map = {**MayChange.perms_map, "DELETE": MayChange.perms_map["PATCH"]}


class IssueAndInstallSerializer(StrictSerializer[Any]):
    """Of which type the new key is, and for how long the certificate is valid; 397 days unless said otherwise."""

    key_type = serializers.ChoiceField(choices=list(KeyType), required=False)
    validity_days = serializers.IntegerField(required=False, min_value=1, max_value=VALIDITY_DAYS_MAX)


class CertificateWishSerializer(StrictSerializer[Any]):
    """What another CA is to certify.

    The common name is the host's first domain unless said otherwise. Without `subject_alt_names` there is the common
    name, when that is a DNS name; an empty list means none.
    """

    common_name = Text(document={"maxLength": COMMON_NAME_MAX_CHARACTERS})
    subject_alt_names = serializers.ListField(
        child=serializers.CharField(max_length=_NAME_MAX_CHARACTERS),
        required=False,
        max_length=SUBJECT_ALT_NAMES_MAX,
        help_text="DNS:name, IP:address, URI:uri.",
    )
    organization = Text(document={"maxLength": ORGANIZATION_MAX_CHARACTERS})
    organizational_unit = Text(document={"maxLength": ORGANIZATION_MAX_CHARACTERS})
    country = Text(document={"pattern": "^([A-Za-z]{2})?$"}, help_text="Two letters, such as DE.")
    key_type = serializers.ChoiceField(choices=list(KeyType), required=False)


class CertificateRequestSerializer(serializers.Serializer[CertificateRequest]):
    """A key that waits for its certificate until `expires_at`. `csr` is what the other CA is to sign.

    `rotation` is the open one that tries its certificate: until that is over, it is neither answered nor deleted.
    """

    id = serializers.UUIDField()
    url = serializers.SerializerMethodField()
    subject = serializers.CharField()
    subject_alt_names = serializers.ListField(child=serializers.CharField())
    key_type = serializers.ChoiceField(choices=list(KeyType))
    key_spki_sha256 = serializers.CharField()
    csr = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(allow_blank=True)
    expires_at = serializers.DateTimeField()
    rotation = serializers.SerializerMethodField()

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_rotation(self, waiting: CertificateRequest) -> str | None:
        found: Rotation | None = self.context.get("open_rotation")
        return str(found.pk) if found is not None and found.certificate_request_id == waiting.pk else None

    def get_url(self, waiting: CertificateRequest) -> str:
        names = [waiting.host_id, waiting.pk]
        return reverse("api-host-certificate-request", args=names, request=self.context.get("request"))


class CertificateRequestsSerializer(serializers.Serializer[Any]):
    """All that a host waits for, the oldest first; there are a few at most."""

    results = CertificateRequestSerializer(many=True)


class Chain(serializers.CharField):
    """A certificate and its intermediates."""

    document = CERTIFICATES


class SignedCertificateSerializer(StrictSerializer[Any]):
    """What the CA signed; order is put right, and a root is left out. `rotate` puts it in use in steps."""

    certificate = Chain(max_length=MAX_PEM_BYTES)
    rotate = serializers.BooleanField(required=False)


class IssueAndInstallView(ApiView):
    """A client certificate of the local CA for a host."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]

    @extend_schema(
        operation_id="hosts_issue_certificate",
        request=IssueAndInstallSerializer,
        responses={200: HostSerializer},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Issue a client certificate from the local CA, install it with its new key, and enable mTLS.

        Needs the permission to add issued certificates. Answers with the host as it is now.
        """
        if not request.user.has_perm(ISSUE_PERMISSION):
            raise PermissionDenied
        wanted = _validated(IssueAndInstallSerializer, request)
        install_issued_certificate(
            host=_host(pk),
            user=request.user,
            key_type=KeyType(wanted.get("key_type", KeyType.EC_P256)),
            validity_days=wanted.get("validity_days"),
        )
        return _shown(pk, request)


class CertificateRequestsView(ApiView):
    """What a host waits for."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]

    @extend_schema(operation_id="hosts_certificate_requests_list", responses={200: CertificateRequestsSerializer})
    def get(self, request: Request, pk: str) -> Response:
        """The requests of a host for certificates of other CAs, the oldest first."""
        waiting = CertificateRequest.objects.filter(host=_host(pk)).defer("key")
        return Response({"results": _document(waiting, request, pk, many=True)})

    @extend_schema(
        operation_id="hosts_certificate_requests_create",
        request=CertificateWishSerializer,
        responses={201: CertificateRequestSerializer},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Make a key, which never leaves Aegis, and the signing request for it. 409 when too many wait already."""
        wanted = _validated(CertificateWishSerializer, request)
        host = _host(pk)
        wish = Wish(**{"common_name": default_common_name(host), **wanted, **_typed(wanted)})
        try:
            document = _document(request_certificate(host=host, wish=wish, user=request.user), request, pk)
        except Host.DoesNotExist as error:  # it was deleted since
            raise Http404 from error
        return Response(document, status=status.HTTP_201_CREATED, headers={"Location": document["url"]})


class CertificateRequestView(ApiView):
    """One request."""

    queryset = Host.objects.all()
    permission_classes = [MayChangeHost]

    @extend_schema(operation_id="hosts_certificate_requests_retrieve", responses={200: CertificateRequestSerializer})
    def get(self, request: Request, pk: str, request_id: str) -> Response:
        """The signing request, and since when it waits."""
        return Response(_document(_waiting(pk, request_id), request, pk))

    @extend_schema(operation_id="hosts_certificate_requests_destroy", responses={204: None})
    @transaction.atomic
    def delete(self, request: Request, pk: str, request_id: str) -> Response:
        """Forget it with its key: a certificate that is signed for it later is of no use.

        409 while a rotation tries it.
        """
        delete_certificate_request(request=_waiting(pk, request_id), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def lock_for_change(self) -> None:
        CertificateRequest.objects.select_for_update().filter(pk=self.kwargs["request_id"]).only("pk").first()


class SignedCertificateView(ApiView):
    """The answer of the other CA."""

    queryset = Host.objects.all()
    permission_classes = [MayChange]

    @extend_schema(
        operation_id="hosts_certificate_requests_certificate",
        request=SignedCertificateSerializer,
        responses={200: HostSerializer},
    )
    def post(self, request: Request, pk: str, request_id: str) -> Response:
        """Install what was signed, with the key of the request, enable mTLS, and forget the request.

        Answers with the host as it is now. When something is wrong with the certificate, nothing changes. With
        `rotate`, upstreams are asked first, in a rotation, one of those at `/hosts/{id}/rotations`; the request stays
        until the certificate is in use for good. 409 while a rotation tries it.
        """
        wanted = _validated(SignedCertificateSerializer, request)
        use = rotate_to_signed_certificate if wanted.get("rotate") else install_signed_certificate
        try:
            use(request=_waiting(pk, request_id), chain_pem=wanted["certificate"], user=request.user)
        except (CertificateRequest.DoesNotExist, Host.DoesNotExist) as error:  # it was deleted since
            raise Http404 from error
        return _shown(pk, request)


def _host(pk: str) -> Host:
    host: Host = get_object_or_404(Host, pk=pk)
    return host


def _waiting(pk: str, request_id: str) -> CertificateRequest:
    found = CertificateRequest.objects.select_related("host").defer("key")
    waiting: CertificateRequest = get_object_or_404(found, pk=request_id, host=pk)
    return waiting


def _typed(wanted: dict[str, Any]) -> dict[str, Any]:
    """The values of a wish that are not what JSON has."""
    typed: dict[str, Any] = {"key_type": KeyType(wanted.get("key_type", KeyType.EC_P256))}
    if "subject_alt_names" in wanted:
        typed["subject_alt_names"] = tuple(wanted["subject_alt_names"])
    return typed


def _shown(pk: str, request: Request) -> Response:
    host = get_object_or_404(Host.objects.with_configuration(), pk=pk)
    return Response(HostSerializer(host, context={"request": request}).data)


def _document(found: Any, request: Request, pk: str, *, many: bool = False) -> Any:
    """Of requests of this host."""
    context = {"request": request, "open_rotation": open_rotation(uuid.UUID(pk))}
    return CertificateRequestSerializer(found, context=context, many=many).data


def _validated(kind: type[StrictSerializer[Any]], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    validated: dict[str, Any] = serializer.validated_data
    return validated
