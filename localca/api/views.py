"""The local CA in the HTTP API: facts and downloads."""

import datetime
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
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
    authority_stem,
    require_authority,
    require_trust_anchors_pem,
    trust_bundle_zip,
)
from localca.models import CertificateAuthority, KeyMissing, RevocationList
from localca.revocation import RevocationError, current_list, current_lists, latest_list

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
        elif isinstance(exc, RevocationError | KeyMissing):
            exc = ListUnavailable(exc.message, code=exc.code)
        return super().handle_exception(exc)


class AuthorityView(_AuthorityViews):
    """The CA that issues client certificates."""

    queryset = CertificateAuthority.objects.all()

    @extend_schema(operation_id="ca", responses={200: CertificateAuthoritySerializer, 404: None})
    def get(self, request: Request) -> Response:
        """The CA's certificate, and what is in it."""
        return Response(CertificateAuthoritySerializer(require_authority(), context={"request": request}).data)


class CertificateView(_AuthorityViews):
    """The root's certificate as PEM. It is public: whoever verifies a client certificate needs it."""

    authentication_classes = []
    permission_classes = [AllowAny]
    content_negotiation_class = DownloadNegotiation

    @extend_schema(
        operation_id="ca_certificate",
        auth=[],
        responses={(200, CERTIFICATE_MEDIA_TYPE): OpenApiTypes.BINARY, 404: None},
    )
    def get(self, request: Request) -> HttpResponse:
        """The CA's certificate as PEM. It is public: whoever verifies a client certificate needs it.

        It is the root's, and during a change of the CA those of both.
        """
        return attachment(require_trust_anchors_pem(), media_type=CERTIFICATE_MEDIA_TYPE, file_name=CERTIFICATE_FILE)


class TrustBundleView(_AuthorityViews):
    """The zip for operators of upstreams."""

    queryset = CertificateAuthority.objects.all()
    content_negotiation_class = DownloadNegotiation

    @extend_schema(operation_id="ca_trust_bundle", responses={(200, "application/zip"): OpenApiTypes.BINARY, 404: None})
    def get(self, request: Request) -> HttpResponse:
        """The trust bundle, a zip for operators of upstreams: certificate, revocation list and how to use them."""
        return attachment(trust_bundle_zip(), media_type="application/zip", file_name=BUNDLE_FILE)


class _RevocationListViews(_AuthorityViews):
    """Certificate revocation lists. They are public: whoever verifies a certificate needs them."""

    authentication_classes = []
    permission_classes = [AllowAny]
    content_negotiation_class = DownloadNegotiation

    _lists: tuple[RevocationList, ...] = ()

    def _answer(
        self, request: Request, *, media_type: str, lists: tuple[RevocationList, ...], file_name: str
    ) -> HttpResponse:
        """DER is one list, PEM all of them."""
        self._lists = lists
        is_der = media_type == REVOCATION_LIST_MEDIA_TYPE
        content = bytes(lists[0].der) if is_der else "".join(found.pem for found in lists)
        response = attachment(content, media_type=media_type, file_name=file_name)
        since = parse_http_date_safe(request.META.get("HTTP_IF_MODIFIED_SINCE", ""))
        # RFC 9110 section 13.2.2: ETags, which the base class compares, go before dates.
        if since is None or is_conditional(request) or _modified_at(lists).timestamp() >= since + 1:
            return response
        return HttpResponse(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag_of_response(response, request)})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """RFC 9110 section 15.4.5: a 304 has the same Cache-Control, Expires and Vary as the 200."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if final.status_code in (200, 304) and self._lists:
            _set_lifetime(final, self._lists)
        return final


_LIST_PARAMETERS = [
    OpenApiParameter("encoding", enum=["der", "pem"], description="Overrides Accept; der unless asked for.")
]
_LIST_RESPONSES: dict[Any, Any] = {
    (200, REVOCATION_LIST_MEDIA_TYPE): OpenApiTypes.BINARY,
    (200, PEM_MEDIA_TYPE): OpenApiTypes.BINARY,
    304: None,
    404: None,
}


class RevocationListView(_RevocationListViews):
    """The lists of the CA that issues, and of all that are trusted."""

    @extend_schema(operation_id="ca_crl", auth=[], parameters=_LIST_PARAMETERS, responses=_LIST_RESPONSES)
    def get(self, request: Request) -> HttpResponse:
        """The revocation list.

        DER, or PEM for `?encoding=pem` and for who accepts `application/x-pem-file` and not DER. DER is the list of the
        CA that issues; PEM holds those of all trusted CAs, roots and intermediates, for peers that check whole chains.

        An overdue list is replaced first. A cache may keep an answer for five minutes.
        """
        media_type = _encoding(request)
        authority = require_authority()
        lists = (current_list(authority),) if media_type == REVOCATION_LIST_MEDIA_TYPE else current_lists()
        return self._answer(request, media_type=media_type, lists=lists, file_name=REVOCATION_LIST_FILE)


class AuthorityListView(_RevocationListViews):
    """The list of one CA."""

    @extend_schema(operation_id="ca_authorities_crl", auth=[], parameters=_LIST_PARAMETERS, responses=_LIST_RESPONSES)
    def get(self, request: Request, pk: str) -> HttpResponse:
        """The revocation list of one CA, also of a former one; what a distribution point may name. As `GET /ca/crl`."""
        media_type = _encoding(request)
        authority = get_object_or_404(CertificateAuthority.objects.with_path(), pk=pk)
        if not authority.has_key and latest_list(authority) is None:
            text = "The key of this CA never was here: whoever has it makes its revocation list, and none was given."
            raise exceptions.NotFound(text)
        lists = (current_list(authority),)
        return self._answer(request, media_type=media_type, lists=lists, file_name=f"{authority_stem(authority)}.crl")


def _encoding(request: Request) -> str:
    """The media type to answer with. Raises ValidationError for an encoding that is neither."""
    kinds = {"der": REVOCATION_LIST_MEDIA_TYPE, "pem": PEM_MEDIA_TYPE}
    if (encoding := request.query_params.get("encoding")) is not None:
        if encoding not in kinds:
            raise exceptions.ValidationError({"encoding": "der or pem."}, code="invalid_choice")
        return kinds[encoding]
    # Whoever accepts neither is given a file all the same, as by every other download.
    return cast("HttpRequest", request).get_preferred_type(list(kinds.values())) or REVOCATION_LIST_MEDIA_TYPE


def _modified_at(lists: tuple[RevocationList, ...]) -> datetime.datetime:
    return max(found.this_update for found in lists)


def _set_lifetime(response: HttpResponse, lists: tuple[RevocationList, ...]) -> None:
    """A cache keeps the lists for a while, and never past the end of one."""
    now = timezone.now()
    end = min(found.next_update for found in lists)
    lifetime = max(min(LIST_MAX_AGE, end - now), datetime.timedelta())
    response["Cache-Control"] = f"public, max-age={int(lifetime.total_seconds())}, must-revalidate"
    response["Expires"] = http_date((now + lifetime).timestamp())
    response["Last-Modified"] = http_date(_modified_at(lists).timestamp())
    patch_vary_headers(response, ["Accept"])
