"""Routes of the local CA, below `/api/v1/`."""

from aegis_site.kernel.api import UUID_PATTERN, Router, route
from localca.api.authority_views import AuthorityViewSet, ImportView, IntermediateView, RootView
from localca.api.certificate_views import CertificateViewSet
from localca.api.views import (
    AuthorityListView,
    AuthorityView,
    CertificateView,
    RevocationListView,
    TrustBundleView,
)

router = Router()
router.register("certificates", CertificateViewSet, basename="api-certificate")
router.register("ca/authorities", AuthorityViewSet, basename="api-authority")

urlpatterns = [
    *router.urls,
    route("ca", AuthorityView.as_view(), name="api-ca"),
    route(r"ca/aegis-local-ca\.crt", CertificateView.as_view(), name="api-ca-certificate"),
    route("ca/intermediate", IntermediateView.as_view(), name="api-ca-intermediate"),
    route("ca/root", RootView.as_view(), name="api-ca-root"),
    route("ca/import", ImportView.as_view(), name="api-ca-import"),
    route(rf"ca/authorities/(?P<pk>{UUID_PATTERN})/crl", AuthorityListView.as_view(), name="api-authority-crl"),
    route("ca/crl", RevocationListView.as_view(), name="api-ca-crl"),
    route("ca/trust-bundle", TrustBundleView.as_view(), name="api-ca-trust-bundle"),
]
