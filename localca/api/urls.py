"""Routes of the local CA, below `/api/v1/`."""

from aegis_site.kernel.api import Router, route
from localca.api.certificate_views import CertificateViewSet
from localca.api.views import AuthorityView, CertificateView, RevocationListView, TrustBundleView

router = Router()
router.register("certificates", CertificateViewSet, basename="api-certificate")

urlpatterns = [
    *router.urls,
    route("ca", AuthorityView.as_view(), name="api-ca"),
    route(r"ca/aegis-local-ca\.crt", CertificateView.as_view(), name="api-ca-certificate"),
    route("ca/crl", RevocationListView.as_view(), name="api-ca-crl"),
    route("ca/trust-bundle", TrustBundleView.as_view(), name="api-ca-trust-bundle"),
]
