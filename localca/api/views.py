"""The local CA in the HTTP API: facts and downloads."""

from django.http import HttpResponse
from rest_framework import exceptions
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aegis_site.kernel.api_policy import DownloadNegotiation
from aegis_site.kernel.downloads import attachment
from localca.api.serializers import CertificateAuthoritySerializer
from localca.bundle import (
    BUNDLE_FILE,
    CERTIFICATE_FILE,
    CERTIFICATE_MEDIA_TYPE,
    AuthorityMissing,
    require_authority,
    trust_bundle_zip,
)
from localca.models import CertificateAuthority


class AuthorityView(APIView):
    """The CA that issues client certificates."""

    queryset = CertificateAuthority.objects.all()

    def get(self, request: Request) -> Response:
        try:
            return Response(CertificateAuthoritySerializer(require_authority()).data)
        except AuthorityMissing as error:
            raise exceptions.NotFound(str(error)) from error


class CertificateView(APIView):
    """The CA's certificate as PEM. It is public: whoever verifies a client certificate needs it."""

    authentication_classes = []
    permission_classes = [AllowAny]
    content_negotiation_class = DownloadNegotiation

    def get(self, request: Request) -> HttpResponse:
        try:
            certificate_pem = require_authority().certificate_pem
        except AuthorityMissing as error:
            raise exceptions.NotFound(str(error)) from error
        return attachment(certificate_pem, media_type=CERTIFICATE_MEDIA_TYPE, file_name=CERTIFICATE_FILE)


class TrustBundleView(APIView):
    """The zip for operators of upstreams."""

    queryset = CertificateAuthority.objects.all()
    content_negotiation_class = DownloadNegotiation

    def get(self, request: Request) -> HttpResponse:
        try:
            return attachment(trust_bundle_zip(), media_type="application/zip", file_name=BUNDLE_FILE)
        except AuthorityMissing as error:
            raise exceptions.NotFound(str(error)) from error
