"""Routes of the local CA, below `/api/v1/`."""

from aegis_site.kernel.api import route
from localca.api.views import AuthorityView, CertificateView, TrustBundleView

urlpatterns = [
    route("ca", AuthorityView.as_view(), name="api-ca"),
    route(r"ca/aegis-local-ca\.crt", CertificateView.as_view(), name="api-ca-certificate"),
    route("ca/trust-bundle", TrustBundleView.as_view(), name="api-ca-trust-bundle"),
]
