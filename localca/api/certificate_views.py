"""Issued certificates in the HTTP API. Every change goes through `localca.services` and `localca.revocation`."""

from typing import Any, cast

from django.db import transaction
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import UUID_PATTERN, ApiViewSet
from aegis_site.kernel.api_policy import MayChange
from aegis_site.kernel.filters import Filters, Ordering, Search
from localca.api.certificate_serializers import (
    CertificateOrderSerializer,
    CertificateRenewalSerializer,
    CertificateRevocationSerializer,
    CertificateSerializer,
    IssuedCertificateSerializer,
    key_document,
    order_of,
)
from localca.api.filters import CertificateFilter
from localca.models import IssuedCertificate, RevocationReason
from localca.revocation import lock_authority, revoke_certificate
from localca.services import IssuedBundle, delete_certificate, issue_certificate, renew_certificate

# RFC 9111 section 5.2.2.5: no cache on the way may keep what holds a private key.
_NO_STORE = {"Cache-Control": "no-store"}


class CertificateViewSet(ApiViewSet):
    """Certificates that the local CA issued."""

    queryset = IssuedCertificate.objects.for_display()
    serializer_class = CertificateSerializer
    lookup_value_regex = UUID_PATTERN
    filter_backends = [Filters, Search, Ordering]
    filterset_class = CertificateFilter
    search_fields = ["subject", "serial_number", "fingerprint_sha256", "issued_for"]
    ordering_fields = ["created_at", "not_after", "subject", "purpose", "revoked_at"]
    ordering = ["-created_at"]

    def list(self, request: Request) -> Response:
        """The certificates, latest first, a page of them at a time."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        """One certificate. Its private key is not stored, so nobody can ask for it."""
        return self._shown(self.get_object())

    @extend_schema(request=CertificateOrderSerializer, responses={201: IssuedCertificateSerializer})
    def create(self, request: Request) -> Response:
        """Issue a certificate: for a new key, which only this answer hands over, or for a signing request."""
        document = _validated(CertificateOrderSerializer, request)
        bundle = issue_certificate(order=order_of(document), user=request.user)
        return self._issued(bundle, document)

    @extend_schema(
        operation_id="certificates_renew",
        request=CertificateRenewalSerializer,
        responses={201: IssuedCertificateSerializer},
    )
    @action(detail=True, methods=["post"])
    def renew(self, request: Request, pk: str) -> Response:
        """Issue the successor: same subject, names, purpose, type of key and length of validity, but another key.

        The old certificate stays valid unless `revoke_old`, which needs the permission to revoke.
        """
        certificate = self.get_object()
        document = _validated(CertificateRenewalSerializer, request)
        revokes = document.get("revoke_old", False)
        if revokes and not request.user.has_perm("localca.change_issuedcertificate"):
            raise exceptions.PermissionDenied
        try:
            bundle = renew_certificate(
                certificate=certificate, csr=document.get("csr", ""), revoke_old=revokes, user=request.user
            )
        except IssuedCertificate.DoesNotExist as error:  # it was deleted since
            raise Http404 from error
        return self._issued(bundle, document)

    @extend_schema(
        operation_id="certificates_revoke",
        request=CertificateRevocationSerializer,
        responses={200: CertificateSerializer},
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def revoke(self, request: Request, pk: str) -> Response:
        """Take the certificate back, for good. The revocation list that names it is there at once."""
        self.get_object()
        reason = RevocationReason(_validated(CertificateRevocationSerializer, request)["reason"])
        with transaction.atomic():
            return self._shown(revoke_certificate(certificate=self._locked(), reason=reason, user=request.user))

    @extend_schema(responses={204: None})
    @transaction.atomic
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget an expired certificate. A valid one is kept, because a forgotten one could never be revoked."""
        delete_certificate(certificate=self._locked(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def lock_for_change(self) -> None:
        self._locked()

    def _locked(self) -> IssuedCertificate:
        """The certificate of the path as it is while its CA is held."""
        lock_authority(self.get_object().authority_id)
        certificate: IssuedCertificate = self.get_object()
        return certificate

    def _shown(self, certificate: IssuedCertificate) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=certificate.pk)).data)

    def _issued(self, bundle: IssuedBundle, document: dict[str, Any]) -> Response:
        context = {**self.get_serializer_context(), "key_document": key_document(bundle, document)}
        data = IssuedCertificateSerializer(bundle.record, context=context).data
        return Response(data, status=status.HTTP_201_CREATED, headers={"Location": data["url"], **_NO_STORE})


def _validated(kind: type[Any], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    return cast("dict[str, Any]", serializer.validated_data)
