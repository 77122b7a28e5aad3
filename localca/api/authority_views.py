"""Changes of the CAs in the HTTP API. Every change goes through the services; all are for administrators.

Laws of this module: a private key leaves in the answer to the POST that asked for it, which no cache keeps.
"""

import base64
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import UUID_PATTERN, ApiView, ApiViewSet
from aegis_site.kernel.api_policy import MayChange
from localca.api.serializers import (
    AuthorityRevocationSerializer,
    AuthoritySerializer,
    CrlUrlSerializer,
    ExportedKeySerializer,
    GivenListSerializer,
    ImportSerializer,
    KeyExportSerializer,
    KeyRemovalSerializer,
    KeySerializer,
    NewAuthoritySerializer,
    ReadinessSerializer,
)
from localca.authority_keys import KeyFormat, export_key, remove_key, restore_key
from localca.given_lists import give_list
from localca.hierarchy import create_intermediate, create_root, set_crl_url
from localca.importing import import_intermediate
from localca.models import CertificateAuthority, RevocationReason
from localca.retirement import readiness_of, retire_authority
from localca.revocation import lock_authority, revoke_intermediate


class _NewAuthorityView(ApiView):
    """What makes a CA."""

    queryset = CertificateAuthority.objects.all()

    def _made(self, authority: CertificateAuthority) -> Response:
        document = AuthoritySerializer(authority, context={"request": self.request}).data
        return Response(document, status=status.HTTP_201_CREATED, headers={"Location": document["url"]})


class IntermediateView(_NewAuthorityView):
    """A new intermediate."""

    @extend_schema(operation_id="ca_intermediate", request=NewAuthoritySerializer, responses={201: AuthoritySerializer})
    def post(self, request: Request) -> Response:
        """Make an intermediate beneath the root of the CA that issues, and let it issue."""
        return self._made(create_intermediate(**_validated(NewAuthoritySerializer, request), user=request.user))


class RootView(_NewAuthorityView):
    """A new root."""

    @extend_schema(operation_id="ca_root", request=NewAuthoritySerializer, responses={201: AuthoritySerializer})
    def post(self, request: Request) -> Response:
        """Make a root beside the old one, and let it issue. The old one stays trusted until it is retired."""
        return self._made(create_root(**_validated(NewAuthoritySerializer, request), user=request.user))


class ImportView(_NewAuthorityView):
    """An intermediate from elsewhere."""

    @extend_schema(operation_id="ca_import", request=ImportSerializer, responses={201: AuthoritySerializer})
    def post(self, request: Request) -> Response:
        """Let an organisation's own intermediate issue; checked up to its root before anything is stored."""
        return self._made(import_intermediate(**_validated(ImportSerializer, request), user=request.user))


class AuthorityViewSet(ApiViewSet):
    """CAs, active or not."""

    queryset = CertificateAuthority.objects.with_path()
    serializer_class = AuthoritySerializer
    lookup_value_regex = UUID_PATTERN

    def retrieve(self, request: Request, pk: str) -> Response:
        """One CA; its key is never shown."""
        return self._shown()

    @extend_schema(request=CrlUrlSerializer, responses={200: AuthoritySerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Say where its revocation list is: that stands in what it issues from then on."""
        document = _validated(CrlUrlSerializer, request)
        if "crl_url" in document:
            set_crl_url(authority=self.get_object(), crl_url=document["crl_url"], user=request.user)
        return self._shown()

    @extend_schema(operation_id="ca_authorities_readiness", responses={200: ReadinessSerializer})
    @action(detail=True, methods=["get"])
    def readiness(self, request: Request, pk: str) -> Response:
        """What depends on this CA and on those beneath it, and must be changed before it can be retired."""
        return Response(ReadinessSerializer(readiness_of(self.get_object())).data)

    @extend_schema(
        operation_id="ca_authorities_export_key", request=KeyExportSerializer, responses={200: ExportedKeySerializer}
    )
    @action(detail=True, methods=["post"], url_path="export-key", permission_classes=[MayChange])
    def export_key(self, request: Request, pk: str) -> Response:
        """Have the private key, encrypted with a passphrase."""
        values = _validated(KeyExportSerializer, request)
        form = KeyFormat(values.get("format", KeyFormat.PKCS12))
        content = export_key(authority=self.get_object(), passphrase=values["passphrase"], form=form, user=request.user)
        if form == KeyFormat.PEM:
            document = {"private_key": content.decode("ascii")}
        else:
            document = {"pkcs12": base64.b64encode(content).decode("ascii")}
        return Response(document, headers={"Cache-Control": "no-store"})

    @extend_schema(
        operation_id="ca_authorities_remove_key", request=KeyRemovalSerializer, responses={200: AuthoritySerializer}
    )
    @action(detail=True, methods=["post"], url_path="remove-key", permission_classes=[MayChange])
    def remove_key(self, request: Request, pk: str) -> Response:
        """Forget the private key of a root whose intermediate issues, or of a CA that was retired or revoked."""
        authority = self.get_object()
        remove_key(authority=authority, **_validated(KeyRemovalSerializer, request), user=request.user)
        return self._shown()

    @extend_schema(
        operation_id="ca_authorities_restore_key", request=KeySerializer, responses={200: AuthoritySerializer}
    )
    @action(detail=True, methods=["post"], url_path="restore-key", permission_classes=[MayChange])
    def restore_key(self, request: Request, pk: str) -> Response:
        """Store a removed key again, to issue the next intermediate or to revoke one."""
        restore_key(authority=self.get_object(), **_validated(KeySerializer, request), user=request.user)
        return self._shown()

    @extend_schema(
        operation_id="ca_authorities_give_crl", request=GivenListSerializer, responses={200: AuthoritySerializer}
    )
    @action(detail=True, methods=["post"], url_path="give-crl", permission_classes=[MayChange])
    def give_crl(self, request: Request, pk: str) -> Response:
        """Hand over a revocation list that was signed elsewhere.

        The trust bundle and `GET /ca/crl` have it from then on. Of a CA whose key is here, the next list is signed at
        once, with what this one names.
        """
        give_list(authority=self.get_object(), **_validated(GivenListSerializer, request), user=request.user)
        return self._shown()

    @extend_schema(operation_id="ca_authorities_retire", request=None, responses={200: AuthoritySerializer})
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def retire(self, request: Request, pk: str) -> Response:
        """Take a root and all beneath it out of the trust bundle, when nothing depends on it."""
        retire_authority(authority=self.get_object(), user=request.user)
        return self._shown()

    @extend_schema(
        operation_id="ca_authorities_revoke",
        request=AuthorityRevocationSerializer,
        responses={200: AuthoritySerializer},
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def revoke(self, request: Request, pk: str) -> Response:
        """Take an intermediate back, for good, and with it all that it issued."""
        authority = self.get_object()
        reason = RevocationReason(_validated(AuthorityRevocationSerializer, request)["reason"])
        revoke_intermediate(authority=authority, reason=reason, user=request.user)
        return self._shown()

    def lock_for_change(self) -> None:
        lock_authority(self.get_object().pk)

    def _shown(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)


def _validated(kind: type[Any], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    return cast("dict[str, Any]", serializer.validated_data)
