"""The local CA in the HTTP API: facts and downloads."""

import datetime
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date, parse_http_date_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.api_policy import DownloadNegotiation
from aegis_site.kernel.conditional import etag_of_response, is_conditional
from aegis_site.kernel.downloads import attachment
from localca.api.serializers import CertificateAuthoritySerializer
from localca.bundle import (
    BUNDLE_FILE,
    CERTIFICATE_FILE,
    CERTIFICATE_MEDIA_TYPE,
    PEM_MEDIA_TYPE,
    REVOCATION_LIST_FILE,
    REVOCATION_LIST_MEDIA_TYPE,
    AuthorityMissing,
    require_authority,
    trust_bundle_zip,
)
from localca.models import CertificateAuthority, RevocationList
from localca.revocation import RevocationError, current_list

# How long a cache may give away a list without asking: so long a revocation can go unnoticed.
LIST_MAX_AGE = datetime.timedelta(minutes=5)


class ListUnavailable(exceptions.APIException):
    """The list is overdue, and the CA cannot sign the next one."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE


class _AuthorityViews(ApiView):
    """Views of the active CA: 404 before there is one, 503 when it cannot sign the list that is due."""

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, AuthorityMissing):
            exc = exceptions.NotFound(str(exc))
        elif isinstance(exc, RevocationError):
            exc = ListUnavailable(exc.message, code=exc.code)
        return super().handle_exception(exc)


class AuthorityView(_AuthorityViews):
    """The CA that issues client certificates."""

    queryset = CertificateAuthority.objects.all()

    @extend_schema(operation_id="ca", responses={200: CertificateAuthoritySerializer, 404: None})
    def get(self, request: Request) -> Response:
        """The CA's certificate, and what is in it."""
        return Response(CertificateAuthoritySerializer(require_authority()).data)


class CertificateView(_AuthorityViews):
    """The CA's certificate as PEM. It is public: whoever verifies a client certificate needs it."""

    authentication_classes = []
    permission_classes = [AllowAny]
    content_negotiation_class = DownloadNegotiation

    @extend_schema(
        operation_id="ca_certificate",
        auth=[],
        responses={(200, CERTIFICATE_MEDIA_TYPE): OpenApiTypes.BINARY, 404: None},
    )
    def get(self, request: Request) -> HttpResponse:
        """The CA's certificate as PEM. It is public: whoever verifies a client certificate needs it."""
        certificate_pem = require_authority().certificate_pem
        return attachment(certificate_pem, media_type=CERTIFICATE_MEDIA_TYPE, file_name=CERTIFICATE_FILE)


class TrustBundleView(_AuthorityViews):
    """The zip for operators of upstreams."""

    queryset = CertificateAuthority.objects.all()
    content_negotiation_class = DownloadNegotiation

    @extend_schema(operation_id="ca_trust_bundle", responses={(200, "application/zip"): OpenApiTypes.BINARY, 404: None})
    def get(self, request: Request) -> HttpResponse:
        """The trust bundle, a zip for operators of upstreams: certificate, revocation list and how to use them."""
        return attachment(trust_bundle_zip(), media_type="application/zip", file_name=BUNDLE_FILE)


class RevocationListView(_AuthorityViews):
    """The CA's certificate revocation list. It is public: whoever verifies a certificate needs it."""

    authentication_classes = []
    permission_classes = [AllowAny]
    content_negotiation_class = DownloadNegotiation

    @extend_schema(
        operation_id="ca_crl",
        auth=[],
        parameters=[
            OpenApiParameter("encoding", enum=["der", "pem"], description="Overrides Accept; der unless asked for.")
        ],
        responses={
            (200, REVOCATION_LIST_MEDIA_TYPE): OpenApiTypes.BINARY,
            (200, PEM_MEDIA_TYPE): OpenApiTypes.BINARY,
            304: None,
            404: None,
        },
    )
    def get(self, request: Request) -> HttpResponse:
        """The revocation list.

        DER, or PEM for `?encoding=pem` and for who accepts `application/x-pem-file` and not DER.

        An overdue list is replaced first. A cache may keep an answer for five minutes.
        """
        media_type = _encoding(request)
        self._list = current_list(require_authority())
        content = bytes(self._list.der) if media_type == REVOCATION_LIST_MEDIA_TYPE else self._list.pem
        response = attachment(content, media_type=media_type, file_name=REVOCATION_LIST_FILE)
        since = parse_http_date_safe(request.META.get("HTTP_IF_MODIFIED_SINCE", ""))
        # RFC 9110 section 13.2.2: ETags, which the base class compares, go before dates.
        if since is None or is_conditional(request) or self._list.this_update.timestamp() >= since + 1:
            return response
        return HttpResponse(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag_of_response(response, request)})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """RFC 9110 section 15.4.5: a 304 has the same Cache-Control, Expires and Vary as the 200."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if final.status_code in (200, 304) and hasattr(self, "_list"):
            _set_lifetime(final, self._list)
        return final


def _encoding(request: Request) -> str:
    """The media type to answer with. Raises ValidationError for an encoding that is neither."""
    kinds = {"der": REVOCATION_LIST_MEDIA_TYPE, "pem": PEM_MEDIA_TYPE}
    if (encoding := request.query_params.get("encoding")) is not None:
        if encoding not in kinds:
            raise exceptions.ValidationError({"encoding": "der or pem."}, code="invalid_choice")
        return kinds[encoding]
    # Whoever accepts neither is given a file all the same, as by every other download.
    return cast("HttpRequest", request).get_preferred_type(list(kinds.values())) or REVOCATION_LIST_MEDIA_TYPE


def _set_lifetime(response: HttpResponse, revocation_list: RevocationList) -> None:
    """A cache keeps the list for a while, and never past its end."""
    now = timezone.now()
    lifetime = max(min(LIST_MAX_AGE, revocation_list.next_update - now), datetime.timedelta())
    response["Cache-Control"] = f"public, max-age={int(lifetime.total_seconds())}, must-revalidate"
    response["Expires"] = http_date((now + lifetime).timestamp())
    response["Last-Modified"] = http_date(revocation_list.this_update.timestamp())
    patch_vary_headers(response, ["Accept"])
